"""Which context goes into which model's prompt, as data: each row with the evaluation that justifies it."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path

from holefill.context.errors import PolicyError
from holefill.context.forms import COMMENTS, FORMS
from holefill.context.items import Item
from holefill.context.providers import PROVIDERS

MAX_BUDGET = 32_768
_SIZE = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s*b(?![a-z])")
_FIELDS = frozenset({"model", "size_b", "providers", "budget_tokens", "form", "evidence", "figures"})


@dataclass(frozen=True, slots=True)
class Policy:
    """``model`` is a glob over the lower-case name; ``size_b`` a half-open range of billions of parameters."""

    model: str
    providers: tuple[str, ...] = ()
    budget_tokens: int = 0
    form: str = COMMENTS
    evidence: str = ""
    figures: str = ""
    size_b: tuple[float, float] | None = None

    def fits(self, model: str) -> bool:
        name = model.replace("\\", "/").rpartition("/")[2].lower()
        if not fnmatchcase(name, self.model.lower()):
            return False
        if self.size_b is None:
            return True
        size = size_of(name)
        return size is not None and self.size_b[0] <= size < self.size_b[1]

    def admits(self, item: Item) -> bool:
        """May the item stand in the prompt?"""
        return self.budget_tokens > 0 and item.source in self.providers and FORMS[self.form].shows(item)


NOTHING = Policy("*")
ASKED_FOR = ("imports", "class_signatures", "similar", "recent_edits", "typed_hole")
"""What fills a budget that a user gives to a model whose policy has none."""


def size_of(model: str) -> float | None:
    """Billions of parameters, as the name tells: 1.5 for ``qwen2.5-coder-1.5b-instruct``."""
    found = _SIZE.findall(model.lower())
    return float(found[-1]) if found else None


def policy_for(model: str, rows: Sequence[Policy] = ()) -> Policy:
    """The first of ``rows``, then of the rows that come with holefill, that fits."""
    return next((row for row in (*rows, *shipped()) if row.fits(model)), NOTHING)


def with_budget(policy: Policy, tokens: int) -> Policy:
    """The same with a user's own budget; a negative one leaves it to the policy."""
    if tokens < 0:
        return policy
    return replace(policy, budget_tokens=tokens, providers=policy.providers or ASKED_FOR)


@cache
def shipped() -> tuple[Policy, ...]:
    return _parsed(files("holefill.context").joinpath("policy.toml").read_text("utf-8"), "policy.toml")


def read_policies(path: Path) -> tuple[Policy, ...]:
    """A user's rows; none where there is no file. Raises ``PolicyError``."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path} cannot be read ({error}): correct or delete it") from error
    return _parsed(text, str(path))


def write_policy(path: Path, policy: Policy) -> None:
    """Put one row into a user's file, first, in place of an earlier one for the same models. Raises ``PolicyError``."""
    key = (policy.model, policy.size_b)
    rows = [policy, *(row for row in read_policies(path) if (row.model, row.size_b) != key)]
    head = "# Written by `holefill eval repo --tune-context`; rows as in holefill's own policy.toml.\n\n"
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(head + "\n".join(map(_as_toml, rows)), "utf-8")
        partial.replace(path)
    except OSError as error:
        raise PolicyError(f"{path} cannot be written ({error.strerror}): make its folder writable") from error


def _parsed(text: str, name: str) -> tuple[Policy, ...]:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{name} is no TOML ({error}): correct or delete it") from error
    rows = content.get("policy", [])
    if set(content) - {"policy"} or not isinstance(rows, list):
        raise PolicyError(f"{name} may hold [[policy]] rows only: correct or delete it")
    return tuple(_policy(row, f"{name}, row {number}") for number, row in enumerate(rows, start=1))


def _policy(row: object, where: str) -> Policy:
    if not isinstance(row, dict) or not isinstance(row.get("model"), str):
        raise PolicyError(f'{where}: a policy needs a model, a glob such as "*coder-7b*"')
    if unknown := set(row) - _FIELDS:
        raise PolicyError(
            f"{where}: no such field as {', '.join(sorted(unknown))}; there are {', '.join(sorted(_FIELDS))}"
        )
    providers, budget, form = row.get("providers", []), row.get("budget_tokens", 0), row.get("form", COMMENTS)
    bad = [one for one in providers if str(one) not in PROVIDERS] if isinstance(providers, list) else [providers]
    if bad:
        raise PolicyError(f"{where}: no such provider as {bad[0]!r}; there are {', '.join(PROVIDERS)}")
    if isinstance(budget, bool) or not isinstance(budget, int) or not 0 <= budget <= MAX_BUDGET:
        raise PolicyError(f"{where}: budget_tokens must be a number from 0 to {MAX_BUDGET}, not {budget!r}")
    if not isinstance(form, str) or form not in FORMS:
        raise PolicyError(f"{where}: no such form as {form!r}; there are {', '.join(FORMS)}")
    return Policy(
        row["model"], tuple(providers), budget, form, str(row.get("evidence", "")), str(row.get("figures", "")),
        _size(row.get("size_b"), where),
    )  # fmt: skip


def _size(given: object, where: str) -> tuple[float, float] | None:
    if given is None:
        return None
    numbers = [float(one) for one in given if isinstance(one, int | float)] if isinstance(given, list) else []
    if len(numbers) != 2:
        raise PolicyError(f"{where}: size_b must be two numbers, [from, below] in billions, not {given!r}")
    return numbers[0], numbers[1]


def _as_toml(policy: Policy) -> str:
    """Strings of JSON are strings of TOML."""
    lines = ["[[policy]]", f"model = {json.dumps(policy.model)}"]
    if policy.size_b is not None:
        lines.append(f"size_b = [{policy.size_b[0]}, {policy.size_b[1]}]")
    lines += [
        f"providers = {json.dumps(list(policy.providers))}",
        f"budget_tokens = {policy.budget_tokens}",
        f"form = {json.dumps(policy.form)}",
        f"evidence = {json.dumps(policy.evidence)}",
        f"figures = {json.dumps(policy.figures)}",
    ]
    return "\n".join(lines) + "\n"
