// Types in the real VS Code (code-server in headless Chromium) and accepts the ghost text. Argument: the Session below as
// JSON. Prints one JSON line {ghost, status}. Waits on what the window shows, never on time.
import { createRequire } from "node:module";

/** @type {{url: string, modules: string, folder: string, file: string, line: number, column: number, typed: string,
 *  screenshot: string}} */
const session = JSON.parse(process.argv[2]);
const { chromium } = createRequire(session.modules + "/")("playwright-core");
const TIMEOUT = 120_000;

const browser = await chromium.launch({
    executablePath: session.chromium,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"],
});
const page = await browser.newPage({ viewport: { width: 1000, height: 480 } });
try {
    page.setDefaultTimeout(TIMEOUT);
    await page.goto(`${session.url}/?folder=${encodeURIComponent(session.folder)}`);
    await page.waitForSelector(".monaco-workbench");
    await page.keyboard.press("Control+P");
    await page.waitForSelector(".quick-input-widget input:focus");
    await page.keyboard.insertText(`${session.file}:${session.line}:${session.column}`);
    await page.waitForSelector(`.quick-input-list .monaco-list-row >> text=${session.file}`);
    await page.keyboard.press("Enter");
    // Keys sent before the editor has focus and its cursor are lost.
    await page.waitForSelector(".editor-instance .monaco-editor.focused");
    await page.waitForSelector(`.statusbar-item >> text=Ln ${session.line}, Col ${session.column}`);
    const bar = page.locator('.statusbar-item[id$="holefill.status"]');
    await bar.locator(".codicon-check").waitFor();
    await page.keyboard.type(session.typed);
    await page.waitForFunction(() => document.querySelector('[class*="ghost-text-decoration"]') !== null, null, { timeout: TIMEOUT });
    const ghost = await page.evaluate(() =>
        [...document.querySelectorAll('[class*="ghost-text-decoration"]')].map((part) => part.textContent).join("").replaceAll("\u00a0", " "),
    );
    await page.screenshot({ path: session.screenshot });
    await page.keyboard.press("Tab");
    await page.waitForFunction(() => document.querySelector('[class*="ghost-text-decoration"]') === null);
    await page.waitForSelector(".tab.active.dirty");
    await page.keyboard.press("Control+S");
    await page.waitForFunction(() => document.querySelector(".tab.active.dirty") === null);
    console.log(JSON.stringify({ ghost, status: await bar.innerText() }));
} catch (error) {
    await page.screenshot({ path: session.screenshot }).catch(() => undefined); // of what went wrong
    throw error;
} finally {
    await browser.close();
}
