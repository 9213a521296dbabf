import { describe, expect, it } from "vitest";
import { barItem, startFailure } from "../src/status";

describe("status bar", () => {
    it("shows the percentage of a download, whole, only when it is known", () => {
        expect(barItem({ state: "downloading", message: "", percent: 41.9 }).text).toContain("41%");
        expect(barItem({ state: "downloading", message: "", percent: null }).text).not.toContain("%");
    });

    it("warns on errors only, with the server's message first and what to do after it", () => {
        const error = barItem({ state: "error", message: "no such model" });
        expect(error.warn).toBe(true);
        expect(error.tooltip).toMatch(/^no such model\n\n.*holefill doctor/s);
        for (const state of ["starting", "idle", "ready", "thinking", "downloading", "off"]) {
            expect(barItem({ state, message: "" }).warn).toBe(false);
        }
    });

    it("shows a state a newer server may send", () => {
        expect(barItem({ state: "dreaming", message: "m" })).toMatchObject({ warn: false });
        expect(barItem({ state: "dreaming", message: "m" }).text).toContain("dreaming");
    });
});

describe("start failure", () => {
    it("names the command, the reason and the setting", () => {
        const text = startFailure("/nowhere/holefill", new Error("spawn ENOENT"));
        for (const part of ["/nowhere/holefill", "spawn ENOENT", "holefill.path"]) expect(text).toContain(part);
    });
});
