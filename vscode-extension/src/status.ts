// What the server says about itself → what the status bar shows. No editor API here, so it is tested as plain functions.

export interface ServerStatus {
    state: string;
    message: string;
    percent?: number | null;
}

export interface BarItem {
    text: string;
    tooltip: string;
    warn: boolean;
}

const MENU = "Click for the menu: turn on or off, restart, log.";

export function barItem(status: ServerStatus): BarItem {
    const known = looks(status)[status.state];
    const { text, hint, warn } = known ?? { text: `$(info) holefill: ${status.state}`, hint: "", warn: false };
    const tooltip = [status.message, hint, MENU].filter((line) => line !== "").join("\n\n");
    return { text, tooltip, warn: warn ?? false };
}

function looks(status: ServerStatus): Record<string, { text: string; hint: string; warn?: boolean }> {
    const percent = typeof status.percent === "number" ? ` ${String(Math.floor(status.percent))}%` : "";
    return {
        starting: { text: "$(sync~spin) holefill", hint: "The server and its model are starting." },
        idle: { text: "holefill", hint: "The model loads when the first file is opened." },
        ready: { text: "$(check) holefill", hint: "Suggestions appear as you type; Tab accepts." },
        thinking: { text: "$(loading~spin) holefill", hint: "A suggestion is being computed." },
        downloading: {
            text: `$(cloud-download) holefill${percent}`,
            hint: "The model is being fetched, once; suggestions start when it is here.",
        },
        off: { text: "$(circle-slash) holefill", hint: "Suggestions are off." },
        error: {
            text: "$(error) holefill",
            hint: "Suggestions have stopped. The log says more; `holefill doctor` in a terminal tests the whole path.",
            warn: true,
        },
    };
}

/** The start of the server process failed: what the user should do about it. */
export function startFailure(path: string, error: unknown): string {
    const reason = error instanceof Error ? error.message : String(error);
    return (
        `The server "${path}" could not be started (${reason}). ` +
        "Install holefill, or set holefill.path to its command, then choose Restart Server."
    );
}
