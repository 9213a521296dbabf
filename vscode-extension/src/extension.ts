// The one door to the editor: starts `holefill serve`, shows its state, forwards settings. Ghost text itself is
// vscode-languageclient's (LSP 3.18 inline completion); what to suggest is decided by the server alone.

import * as vscode from "vscode";
import { LanguageClient, State, type LanguageClientOptions } from "vscode-languageclient/node";
import { serverSettings, type Settings } from "./settings";
import { barItem, startFailure, type ServerStatus } from "./status";

const SECTION = "holefill";
/** A cursor that stands still this long is where the user may type next. */
const REST_MS = 300;
const OFF: ServerStatus = { state: "off", message: "Turned off in this window." };

class Extension {
    private client: LanguageClient | undefined;
    private status: ServerStatus = { state: "starting", message: "" };
    private on = true;
    private thinking = 0;
    private queue: Promise<void> = Promise.resolve();
    private resting: NodeJS.Timeout | undefined;
    private readonly log = vscode.window.createOutputChannel("holefill", { log: true });
    private readonly bar = vscode.window.createStatusBarItem("holefill.status", vscode.StatusBarAlignment.Right, 100);

    constructor(context: vscode.ExtensionContext) {
        const commands: Record<string, () => unknown> = {
            "holefill.menu": () => this.menu(),
            "holefill.restart": () => this.restart(),
            "holefill.toggle": () => this.toggle(),
            "holefill.showLog": () => { this.log.show(); },
            "holefill.explain": () => this.explain(),
        };
        for (const [name, run] of Object.entries(commands)) {
            context.subscriptions.push(vscode.commands.registerCommand(name, run));
        }
        context.subscriptions.push(this.log, this.bar, vscode.workspace.onDidChangeConfiguration((event) => {
            if (event.affectsConfiguration(`${SECTION}.path`)) void this.restart();
            else if (event.affectsConfiguration(SECTION)) void this.sendSettings();
        }));
        context.subscriptions.push(
            vscode.workspace.onDidGrantWorkspaceTrust(() => { void this.sendSettings(); }),
            vscode.window.onDidChangeTextEditorSelection(({ textEditor }) => { this.rest(textEditor); }),
            vscode.window.onDidChangeActiveTextEditor((editor) => { this.rest(editor); }),
        );
        this.bar.name = "holefill";
        this.bar.command = "holefill.menu";
        this.bar.show();
    }

    /** Stops the running server, if any, and starts one with the settings of now; one restart at a time. */
    restart(): Promise<void> {
        this.queue = this.queue.then(() => this.stopClient()).then(() => this.startClient());
        return this.queue;
    }

    stop(): Promise<void> {
        this.queue = this.queue.then(() => this.stopClient());
        return this.queue;
    }

    private async startClient(): Promise<void> {
        const command = vscode.workspace.getConfiguration(SECTION).get("path", "holefill");
        const client = new LanguageClient(SECTION, "holefill", { command, args: ["serve"] }, this.clientOptions());
        this.client = client;
        this.show({ state: "starting", message: "" });
        client.onNotification("holefill/status", (status: ServerStatus) => { this.show(status); });
        client.onDidChangeState(({ newState }) => {
            if (newState === State.Stopped && this.client === client) {
                this.show({ state: "error", message: "The server stopped. Choose Restart Server." });
            }
        });
        try {
            await client.start();
            if (this.status.state === "starting") this.show({ state: "idle", message: "" });
        } catch (error) {
            const message = startFailure(command, error);
            this.show({ state: "error", message });
            void vscode.window.showErrorMessage(`holefill: ${message}`);
        }
    }

    private async stopClient(): Promise<void> {
        clearTimeout(this.resting);
        const client = this.client;
        this.client = undefined;
        try {
            await client?.stop();
        } catch (error) {
            this.log.warn(`the server did not stop in order: ${String(error)}`);
        }
    }

    private clientOptions(): LanguageClientOptions {
        return {
            documentSelector: [{ scheme: "file" }, { scheme: "untitled" }],
            outputChannel: this.log,
            initializationOptions: this.settings(),
            middleware: {
                provideInlineCompletionItems: async (document, position, context, token, next) => {
                    this.thinking += 1;
                    try {
                        this.draw();
                        return await next(document, position, context, token);
                    } finally {
                        this.thinking -= 1;
                        this.draw();
                    }
                },
            },
        };
    }

    private settings(): Settings {
        const section = vscode.workspace.getConfiguration().get<Settings>(SECTION, {});
        return serverSettings(section, this.on, vscode.workspace.isTrusted);
    }

    private async sendSettings(): Promise<void> {
        if (this.client?.state !== State.Running) return;
        await this.client.sendNotification("workspace/didChangeConfiguration", { settings: { [SECTION]: this.settings() } });
    }

    /** Tells the server where the cursor came to rest: the prompt there is computed ahead, until a key. */
    private rest(editor: vscode.TextEditor | undefined): void {
        clearTimeout(this.resting);
        if (!this.on || editor === undefined || !["file", "untitled"].includes(editor.document.uri.scheme)) return;
        this.resting = setTimeout(() => {
            if (this.client?.state !== State.Running) return;
            const { line, character } = editor.selection.active;
            const textDocument = this.client.code2ProtocolConverter.asTextDocumentIdentifier(editor.document);
            void this.client.sendNotification("holefill/cursor", { textDocument, position: { line, character } });
        }, REST_MS);
    }

    private show(status: ServerStatus): void {
        this.status = status;
        this.draw();
    }

    private draw(): void {
        const busy = this.thinking > 0 && this.status.state === "ready";
        const { text, tooltip, warn } = barItem(this.on ? (busy ? { state: "thinking", message: "" } : this.status) : OFF);
        this.bar.text = text;
        this.bar.tooltip = tooltip;
        this.bar.backgroundColor = warn ? new vscode.ThemeColor("statusBarItem.errorBackground") : undefined;
    }

    private async toggle(): Promise<void> {
        this.on = !this.on;
        this.draw();
        await this.sendSettings();
    }

    private async menu(): Promise<void> {
        const choices = [
            { label: this.on ? "Turn Off in This Window" : "Turn On", command: "holefill.toggle" },
            { label: "Restart Server", command: "holefill.restart" },
            { label: "Explain Last Suggestion", command: "holefill.explain" },
            { label: "Show Log", command: "holefill.showLog" },
        ];
        // A command of the server's, registered by the client.
        if (this.status.state === "error") choices.unshift({ label: "Download the Model", command: "holefill.pullModel" });
        const picked = await vscode.window.showQuickPick(choices, { placeHolder: this.status.message });
        if (picked !== undefined) await vscode.commands.executeCommand(picked.command);
    }

    private async explain(): Promise<void> {
        try {
            if (this.client === undefined) throw new Error("the server is not running");
            const content = await this.client.sendRequest<string>("holefill/explain", {});
            await vscode.window.showTextDocument(await vscode.workspace.openTextDocument({ language: "markdown", content }));
        } catch (error) {
            const reason = error instanceof Error ? error.message : String(error);
            void vscode.window.showWarningMessage(`holefill: no explanation: ${reason}`);
        }
    }
}

let extension: Extension | undefined;

export function activate(context: vscode.ExtensionContext): void {
    extension = new Extension(context);
    void extension.restart();
}

export function deactivate(): Promise<void> | undefined {
    return extension?.stop();
}
