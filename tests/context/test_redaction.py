"""Secrets: what is hidden, and that ordinary code is left alone."""

from __future__ import annotations

import inspect
import json
import ssl
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holefill.context.redaction import has_secret, is_secret_file, redact

# Put together here so that no scanner takes this file for a leak.
TOKENS = [
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2" * 12,
    "glpat-" + "a1B2" * 5,
    "xoxb-" + "1234567890-abcdefghij",
    "AIza" + "a1B2c" * 7,
    "sk_live_" + "a1B2" * 6,
    "sk-proj-" + "a1B2" * 10,
    "hf_" + "abCD" * 9,
    "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0NTY3" + "." + "a1B2" * 8,
]


@pytest.mark.parametrize("token", TOKENS)
def test_tokens_are_blanked_in_place(token: str) -> None:
    text = f'x = 1\nheader = "{token}"\ny = 2\n'
    assert redact(text) == text.replace(token, "*" * len(token))


def test_private_keys_urls_and_assignments() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----"
    assert "MIIE" not in redact(f"a\n{key}\nb")
    assert redact(f"a\n{key}\nb").count("\n") == f"a\n{key}\nb".count("\n")
    assert "hunter22" not in redact("postgres://admin:hunter22@db.example/x")
    assert "q8Zr" not in redact('API_KEY = "q8Zr41kPz0Lm55Tyw2Qe"')
    assert "q8Zr" not in redact("password: 'q8Zr41kPz0Lm55Tyw2Qe'")


@pytest.mark.parametrize("module", [inspect, json, ssl])
def test_ordinary_code_is_untouched(module: ModuleType) -> None:
    source = inspect.getsource(module)
    assert redact(source) == source


@pytest.mark.parametrize(
    "text",
    [
        'password = os.environ["DATABASE_PASSWORD_FOR_TEST_1"]',
        'token = "<put-your-token-here>"',
        "secret = get_secret('name')",
        "url = 'http://localhost:8000/path@v1'",
        "https://{user}:{password}@host/",
        'API_KEY = "your-api-key"',
    ],
)
def test_placeholders_are_untouched(text: str) -> None:
    assert not has_secret(text)


@given(st.text())
def test_length_and_lines_stay(text: str) -> None:
    assert len(redact(text)) == len(text)
    assert redact(text).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "path", [".env", "a/.env.local", "prod.env", "id_rsa", "k/server.KEY", "x.pem", ".npmrc", "secrets.yml"]
)
def test_secret_file_names(path: str) -> None:
    assert is_secret_file(path)


@pytest.mark.parametrize("path", ["env.py", "secrets.py", "keys.ts", "environment.json", "a/key", "pem.go"])
def test_ordinary_file_names(path: str) -> None:
    assert not is_secret_file(path)
