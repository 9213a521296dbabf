"""No suggestion may be a credential the model learned by heart; the user's own text and ordinary code pass."""

from __future__ import annotations

import random
import string

import pytest

from holefill.lsp_server.completion import Reason
from holefill.lsp_server.postprocess import Place, postprocess

WORD = string.ascii_letters + string.digits


def canary(kind: int, generator: random.Random) -> str:
    def run(length: int, letters: str = WORD) -> str:
        return "".join(generator.choice(letters) for _ in range(length))

    return (
        "ghp_" + run(36),
        "AKIA" + run(16, string.ascii_uppercase + string.digits),
        "sk-proj-" + run(40),
        "glpat-" + run(24),
        "xoxb-" + run(30),
        "hf_" + run(36),
        "AIza" + run(35),
    )[kind]


@pytest.mark.parametrize("kind", range(7))
def test_every_canary_is_blocked_wherever_it_starts(kind: int) -> None:
    for seed in range(30):
        secret = canary(kind, random.Random(seed))
        cut = random.Random(seed).randrange(len(secret) - 6)
        for prefix, text in (("key = ", f'"{secret}"'), ("key = '", secret), (f'key = "{secret[:cut]}', secret[cut:])):
            assert postprocess(text, Place(prefix, "\n", "python")) == ("", Reason.SECRET), (prefix, text)


def test_a_credential_of_the_users_own_file_is_the_users() -> None:
    secret = canary(0, random.Random(1))
    place = Place(f'OLD = "{secret}"\nNEW = "', '"\n', "python")
    assert postprocess(secret, place) == (secret, Reason.MODEL)


@pytest.mark.parametrize(
    "text",
    [
        "request.headers['Authorization']",
        "os.environ['GITHUB_TOKEN']",
        "sk_live",
        "password=get_password()",
        "a * b ** c",
    ],
)
def test_ordinary_code_passes(text: str) -> None:
    assert postprocess(text, Place("x = ", "\n", "python")) == (text, Reason.MODEL)
