import { describe, expect, it } from "vitest";
import { serverSettings } from "../src/settings";

describe("settings for the server", () => {
    it("keeps everything but the extension's own", () => {
        expect(serverSettings({ path: "/x", model: "m", enable: { "*": true, go: false } }, true)).toEqual({
            model: "m",
            enable: { "*": true, go: false },
        });
    });

    it("turned off means every language, whatever the settings say", () => {
        expect(serverSettings({ enable: { python: true } }, false)).toEqual({ enable: { "*": false } });
    });
});
