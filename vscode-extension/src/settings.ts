// The section `holefill` of the editor's settings → what the server is sent. The server checks the values.

export type Settings = Record<string, unknown>;

/** Settings the extension itself reads. */
const OWN = new Set(["path"]);

export function serverSettings(section: Settings, on: boolean): Settings {
    const sent = Object.fromEntries(Object.entries(section).filter(([name]) => !OWN.has(name)));
    return on ? sent : { ...sent, enable: { "*": false } };
}
