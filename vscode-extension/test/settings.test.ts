import { describe, expect, it } from "vitest";
import { serverSettings } from "../src/settings";

describe("settings for the server", () => {
    it("keeps everything but the extension's own", () => {
        expect(serverSettings({ path: "/x", model: "m", enable: { "*": true, go: false } }, true, true)).toEqual({
            model: "m",
            enable: { "*": true, go: false },
        });
    });

    it("turned off means every language, whatever the settings say", () => {
        expect(serverSettings({ enable: { python: true } }, false, true)).toEqual({ enable: { "*": false } });
    });

    it("lets no program of an untrusted workspace be run", () => {
        expect(serverSettings({ typescript: "" }, true, false)).toEqual({ typescript: "path" });
        expect(serverSettings({ typescript: "/mine/tsc" }, true, false)).toEqual({ typescript: "/mine/tsc" });
        expect(serverSettings({ typescript: "" }, true, true)).toEqual({ typescript: "" });
    });
});
