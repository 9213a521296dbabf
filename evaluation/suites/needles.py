"""Needle chains: alias chains over synthetic files, packed into the context at growing lengths (PAPERS §2.8).

``KEY_4 = "mauve-3187"`` in one file, ``ALIAS = store_4.KEY_4`` in the next, …; the hole asks for the value of the last
alias. Forward chains stand in reading order (definition first), backward ones reversed. The answer is in the context
only, so accuracy against length is the effective context length of model, format and packer together.
"""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

from holefill.evaluation.cases import Case, CaseSet, Published

LENGTHS = (256, 512, 1024, 2048, 4096)
"""Tokens of packed context, at ``_CHARS_PER_TOKEN`` characters each."""
DEPTHS = (1, 2, 3, 5)
REPEATS = 4
_CHARS_PER_TOKEN = 1.5  # digits are tokens of their own in the models we serve
_WORDS = ("amber", "cedar", "cobalt", "coral", "fern", "hazel", "indigo", "ivory", "lilac", "mauve", "ochre", "olive")


def load(data: Path, selection: tuple[str, ...], seed: int) -> CaseSet:
    generator = random.Random(seed)
    cases = [
        _case(generator, length, depth, direction, repeat)
        for length in LENGTHS
        for depth in DEPTHS
        for direction in ("forward", "backward")
        for repeat in range(REPEATS)
    ]
    return CaseSet(tuple(case for case in cases if not selection or str(case.length) in selection))


def _case(generator: random.Random, length: int, depth: int, direction: str, repeat: int) -> Case:
    value = f"{generator.choice(_WORDS)}-{generator.randrange(1000, 10000)}"
    links = _chain(generator, value, depth)
    chain = links if direction == "forward" else links[::-1]
    last = links[-1].text.split(" = ")[0].split("\n")[-1]
    module = links[-1].path.removesuffix(".py")
    prefix = f'from {module} import {last}\n\n# {last} resolves to this literal:\nassert {last} == "'
    return Case(
        id=f"needles/{length}/{depth}/{direction}/{repeat}",
        language="python",
        path="check.py",
        prefix=prefix,
        target=f'{value}"',
        suffix="\n",
        kind=f"depth {depth} {direction}",
        cross_file=True,
        published={"rg1": tuple(_scatter(generator, chain, int(length * _CHARS_PER_TOKEN)))},
        length=length,
    )


def _chain(generator: random.Random, value: str, depth: int) -> list[Published]:
    """The definition, then one alias of it per step."""
    numbers = generator.sample(range(100, 1000), depth)
    links = [Published(f'KEY_{numbers[0]} = "{value}"\n', f"store_{numbers[0]}.py")]
    for before, number in pairwise(numbers):
        links.append(
            Published(f"import store_{before}\n\nKEY_{number} = store_{before}.KEY_{before}\n", f"store_{number}.py")
        )
    return links


def _scatter(generator: random.Random, chain: list[Published], chars: int) -> list[Published]:
    """The chain in its order, at random places among filler files, ``chars`` characters in all."""
    room = chars - sum(len(link.text) + len(link.path) for link in chain)
    filler: list[Published] = []
    while room > 0:
        number = generator.randrange(1000, 10000)
        value = f"{generator.choice(_WORDS)}-{generator.randrange(1000, 10000)}"
        piece = Published(f'KEY_{number} = "{value}"\n', f"store_{number}.py")
        filler.append(piece)
        room -= len(piece.text) + len(piece.path)
    places = sorted(generator.randrange(len(filler) + 1) for _ in chain)
    for offset, (place, link) in enumerate(zip(places, chain, strict=True)):
        filler.insert(place + offset, link)
    return filler
