// The section `holefill` of the editor's settings → what the server is sent. The server checks the values.

export type Settings = Record<string, unknown>;

/** Settings the extension itself reads. */
const OWN = new Set(["path"]);

/** `trusted`: whether programs that came with the workspace may be run. */
export function serverSettings(section: Settings, on: boolean, trusted: boolean): Settings {
    const sent = Object.fromEntries(Object.entries(section).filter(([name]) => !OWN.has(name)));
    if (!trusted && !sent.typescript) sent.typescript = "path";
    return on ? sent : { ...sent, enable: { "*": false } };
}
