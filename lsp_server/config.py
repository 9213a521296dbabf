"""Settings of the language server, parsed once at the edge: a bad one is named to the user and its default is used."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from holefill.context.providers import PROVIDERS
from holefill.context.types.specs import ON_PATH, typescript_spec
from holefill.lsp_server.completion import CompleterOptions, Fit

SECTION = "holefill"
LOG_LEVELS = ("debug", "info", "warning", "error")
EXTENSION_ONLY = frozenset({"command", "path", "python", "trace", "server_path", "server_command", "server_args"})
"""Settings that the editor extension reads itself and may pass on with the others."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Initialization options, and the section ``holefill`` of the editor's settings. camelCase spellings work too."""

    model: str = "qwen2.5-coder-0.5b"
    """A name of `holefill model list`, a GGUF file or a Hugging Face folder."""
    adapter: str = ""
    """Low-rank adapter file of the model. Empty: the workspace's own, where `holefill tune` made one that won, else the
    one that comes with the model; "off": none."""
    engine_url: str = ""
    """An OpenAI-compatible server to use instead of our own engine."""
    engine_token_file: str = ""
    """File whose first line is the bearer token of engine_url."""
    enable: dict[str, bool] = field(default_factory=dict)
    """Language → on or off; "*" is every language not named. On when nothing is said."""
    max_tokens: int = 64
    context_tokens: int = -1
    """Repository context in the prompt; -1: what the context policy has for the model (0 for the default ones)."""
    providers_off: tuple[str, ...] = ()
    """Names of context providers that are not to be asked for anything."""
    debounce_ms: int = 25
    """Wait for typing to pause; answers from the cache never wait."""
    deadline_ms: int = 600
    """An automatic answer ends by then: VS Code drops what comes later than about 700 ms."""
    fit: dict[str, str] = field(default_factory=dict)
    """Language → how much is done so that suggestions fit their place, a value of ``Fit``; "*" is every language not
    named. "masks" when nothing is said: what is shown closes and begins with no member that does not exist."""
    show_probability: float = 0.05
    """Nothing is shown unasked that is kept with a smaller probability (``show_gate``); 0 shows everything."""
    show_threshold: float = -10.0
    """Mean log-probability of the first line below which nothing is shown unasked, whatever the probability says."""
    add_imports: bool = True
    """Imports that an accepted suggestion needs are added to its file: Python, TypeScript, JavaScript."""
    typescript: str = ""
    """TypeScript 7's executable, which tells the types of TypeScript and JavaScript. Empty: the workspace's own
    (node_modules), else the one on PATH; "path": only that one, so that no program of the workspace is run."""
    log_level: str = "warning"

    def enabled(self, language: str) -> bool:
        return self.enable.get(language, self.enable.get("*", True))

    def completer_options(self) -> CompleterOptions:
        return CompleterOptions(
            max_new_tokens=self.max_tokens,
            context_tokens=max(0, self.context_tokens),
            show_threshold=self.show_threshold,
            show_probability=self.show_probability,
            fit=Fit(self.fit.get("*", Fit.MASKS)),
            fit_by_language=tuple((name, Fit(level)) for name, level in self.fit.items() if name != "*"),
        )


@dataclass(frozen=True, slots=True)
class Parsed:
    settings: Settings
    problems: tuple[str, ...] = ()
    """One sentence per bad setting, for the user."""


_BOUNDS = {
    "max_tokens": (1, 512),
    "context_tokens": (-1, 32_768),
    "debounce_ms": (0, 5_000),
    "deadline_ms": (50, 60_000),
    "show_probability": (0, 1),
}


def parse_settings(raw: object, base: Settings | None = None) -> Parsed:
    """Total: whatever the editor sent. Settings not named keep the value of ``base``."""
    base = base or Settings()
    if raw is None:
        return Parsed(base)
    if not isinstance(raw, Mapping):
        return Parsed(base, (f"{SECTION}: settings must be an object, not {raw!r:.40}; defaults are used.",))
    section = raw.get(SECTION, raw)
    if not isinstance(section, Mapping):
        return Parsed(base, (f"{SECTION}: settings must be an object, not {section!r:.40}; defaults are used.",))
    fields = {entry.name: entry for entry in dataclasses.fields(Settings)}
    good: dict[str, object] = {}
    problems: list[str] = []
    for given, value in section.items():
        name = _snake(str(given))
        if name in EXTENSION_ONLY or value is None:
            continue
        if name not in fields:
            problems.append(_unknown(str(given), fields))
        elif (problem := _problem(name, value)) is not None:
            problems.append(f"{SECTION}.{given}: {problem}; {getattr(base, name)!r} is used.")
        else:
            good[name] = _plain(value)
    return Parsed(dataclasses.replace(base, **good), tuple(problems))  # type: ignore[arg-type]  # checked one by one


def _plain(value: object) -> object:
    """Numbers of JSON may arrive as 64.0, objects as read-only mappings."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return tuple(value)
    return dict(value) if isinstance(value, Mapping) else value


def _problem(name: str, value: object) -> str | None:
    expected = {entry.name: entry.type for entry in dataclasses.fields(Settings)}[name]
    if expected in ("int", "float") and (isinstance(value, bool) or not isinstance(value, int | float)):
        return f"expected a number, got {value!r:.40}"
    if expected == "int" and not float(str(value)).is_integer():
        return f"expected a whole number, got {value!r:.40}"
    if expected == "bool" and not isinstance(value, bool):
        return f"expected true or false, got {value!r:.40}"
    if expected == "str" and not isinstance(value, str):
        return f"expected text, got {value!r:.40}"
    if expected == "dict[str, bool]" and not (
        isinstance(value, Mapping) and all(isinstance(entry, bool) for entry in value.values())
    ):
        return f"expected an object of language: true or false, got {value!r:.60}"
    if expected == "dict[str, str]" and not isinstance(value, Mapping):
        return f"expected an object of language: level, got {value!r:.60}"
    if expected == "tuple[str, ...]" and not isinstance(value, list | tuple):
        return f"expected a list of names, got {value!r:.40}"
    return _out_of_bounds(name, value)


def _out_of_bounds(name: str, value: object) -> str | None:
    if name in _BOUNDS and isinstance(value, int | float):
        low, high = _BOUNDS[name]
        return None if low <= value <= high else f"must be between {low} and {high}, got {value}"
    if name == "providers_off" and isinstance(value, list | tuple):
        unknown = [str(entry) for entry in value if str(entry) not in PROVIDERS]
        return f"must be among {', '.join(PROVIDERS)}, got {unknown[0]!r:.40}" if unknown else None
    if name == "fit" and isinstance(value, Mapping):
        unknown = [str(level) for level in value.values() if level not in list(Fit)]
        return f"must be among {', '.join(Fit)}, got {unknown[0]!r:.40}" if unknown else None
    if name == "log_level" and value not in LOG_LEVELS:
        return f"must be one of {', '.join(LOG_LEVELS)}, got {value!r:.40}"
    if name == "typescript" and value not in ("", ON_PATH) and typescript_spec(None, str(value)) is None:
        return f"no TypeScript 7 is there: {value!r:.60}"
    if name == "engine_url" and value and not re.match(r"(https?|unix)://|/", str(value)):
        return f"must start with http://, https:// or unix://, got {value!r:.60}"
    return None


def _unknown(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(_snake(name), known, n=1)
    hint = f" Did you mean {SECTION}.{close[0]}?" if close else ""
    return f"{SECTION}.{name}: there is no such setting; it is ignored.{hint}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).replace("-", "_").lower()
