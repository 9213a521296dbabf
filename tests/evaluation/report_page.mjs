// Looks at the report in headless Chromium. Argument: JSON {page, modules, chromium, screenshot, dark}. Prints one JSON
// line {errors, requests, plots: [{title, marks, cut}], width}: a plot without marks is empty, `cut` are its texts that
// reach out of it, `width` is how far the page scrolls sideways.
import { createRequire } from "node:module";

const look = JSON.parse(process.argv[2]);
const { chromium } = createRequire(look.modules + "/")("playwright-core");
const browser = await chromium.launch({
    executablePath: look.chromium,
    timeout: 0, // the caller has a limit of its own: a busy machine is not a broken page
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"],
});
const page = await browser.newPage({
    viewport: { width: 1180, height: look.height ?? 900 },
    colorScheme: look.dark ? "dark" : "light",
});
page.setDefaultTimeout(0);
const errors = [];
const requests = [];
page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
page.on("pageerror", (error) => errors.push(String(error)));
page.on("request", (request) => requests.push(request.url()));
try {
    await page.goto(look.page);
    const plots = await page.evaluate(() =>
        [...document.querySelectorAll("figure")].map((figure) => {
            const box = figure.querySelector("svg").getBoundingClientRect();
            const seen = (mark) => { const b = mark.getBoundingClientRect(); return b.width > 0 || b.height > 0; };
            const out = (text) => {
                const b = text.getBoundingClientRect();
                return b.left < box.left - 1 || b.right > box.right + 1 || b.top < box.top - 1 || b.bottom > box.bottom + 1;
            };
            return {
                title: figure.querySelector("figcaption").textContent,
                marks: [...figure.querySelectorAll(".bar, .dot, .line")].filter(seen).length,
                cut: [...figure.querySelectorAll("svg text")].filter(out).map((text) => text.textContent),
            };
        }),
    );
    const width = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (look.screenshot) await page.screenshot({ path: look.screenshot, fullPage: Boolean(look.full) });
    console.log(JSON.stringify({ errors, requests, plots, width }));
} finally {
    await browser.close();
}
