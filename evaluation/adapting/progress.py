"""One line about a long stage at most every two seconds, with the time left."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

EVERY_S = 2.0


def counted(stage: str) -> Callable[[int, int], None]:
    """Takes (done, total). Counts from its first call, so that what is loaded before does not spoil the pace."""
    first: tuple[float, int] | None = None
    told = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal first, told
        now = time.monotonic()
        first = first or (now, done)
        if done < total and now - told < EVERY_S:
            return
        told = now
        pace = (now - first[0]) / (done - first[1]) if done > first[1] else 0.0
        left = f", {pace * (total - done) / 60:.1f} min left" if pace and done < total else ""
        click.echo(f"{stage}: {done} of {total}{left}", err=True)

    return tell
