"""The arrows of ARCHITECTURE.md, read from the imports: an upward, sideways or relative import fails here."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
MAY_IMPORT = {  # evaluation drives the completer and speaks its messages, which are of context and model
    "evaluation": {"evaluation", "lsp_server", "context", "model"},
    "lsp_server": {"lsp_server", "context", "model"},
    "context": {"context"},
    "model": {"model", "kernels"},
    "kernels": {"kernels"},
}
LAZY_HEAVY = ("torch", "transformers", "huggingface_hub", "triton")
WITHOUT_TORCH = (
    "holefill.lsp_server.cli",
    "holefill.lsp_server.completer",
    "holefill.lsp_server.server",
    "holefill.model.request",
    "holefill.model.cancel",
    "holefill.model.errors",
    "holefill.model.tokenizer",
    "holefill.model.store",
    "holefill.model.serving.client",
)


def sources(layer: str) -> list[Path]:
    return sorted((REPOSITORY / layer).rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[tuple[int, str, int]]:
    """(line, module, relative level) of every import, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module == "holefill" and node.level == 0:
                yield from ((node.lineno, f"holefill.{alias.name}", 0) for alias in node.names)
            else:
                yield node.lineno, node.module or "", node.level


def violations(layer: str, text: str) -> list[str]:
    found = []
    for line, module, level in imports(ast.parse(text)):
        words = module.split(".")
        if level:
            found.append(f"{line}: relative import")
        elif words[0] == "holefill" and (len(words) < 2 or words[1] not in MAY_IMPORT[layer]):
            found.append(f"{line}: {layer} may not import {module}")
        elif words[0] in MAY_IMPORT and (REPOSITORY / Path(*words)).with_suffix(".py").exists():
            found.append(f"{line}: {module} without holefill.")
    return found


def statements_run_at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """Everything but the bodies of functions."""
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.stmt):
            yield node
        stack.extend(ast.iter_child_nodes(node))


def mutates_process(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign | ast.AugAssign | ast.Delete | ast.Expr):
        return False
    if isinstance(node, ast.Expr):
        mutators = ("os.environ.", "os.putenv(", "sys.path.", "os.chdir(", "logging.basicConfig(", "torch.set_")
        return ast.unparse(node).startswith(mutators)
    targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
    return any(ast.unparse(target).startswith(("os.environ", "sys.path", "torch._")) for target in targets)


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_imports_follow_the_arrows(layer: str) -> None:
    files = sources(layer)
    assert files
    found = {
        str(file.relative_to(REPOSITORY)): bad for file in files if (bad := violations(layer, file.read_text("utf-8")))
    }
    assert not found


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_importing_changes_nothing_in_the_process(layer: str) -> None:
    found = [
        f"{file.relative_to(REPOSITORY)}:{node.lineno}"
        for file in sources(layer)
        for node in statements_run_at_import(ast.parse(file.read_text("utf-8")))
        if mutates_process(node)
    ]
    assert not found


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("context", "from holefill.model.request import Sampling"),
        ("context", "def f():\n    import holefill.lsp_server.cli"),
        ("kernels", "import holefill.model.errors"),
        ("lsp_server", "from holefill.kernels import partial"),
        ("lsp_server", "from holefill import evaluation"),
        ("model", "from . import errors"),
        ("model", "from model.errors import ModelError"),
    ],
)
def test_the_check_sees_each_kind_of_violation(layer: str, text: str) -> None:
    assert violations(layer, text)


def test_the_check_sees_a_change_at_import() -> None:
    for text in (
        "import os\nos.environ['A'] = 'b'",
        "if 1:\n    os.environ.setdefault('A', 'b')",
        "sys.path.append('x')",
    ):
        assert any(mutates_process(node) for node in statements_run_at_import(ast.parse(text))), text
    quiet = "def f():\n    os.environ['A'] = 'b'"
    assert not any(mutates_process(node) for node in statements_run_at_import(ast.parse(quiet)))


def test_the_editor_process_imports_no_torch() -> None:
    """In one fresh process, every module the language server needs; a missing module is a failure too."""
    code = (
        "import importlib, sys\n"
        f"for name in {WITHOUT_TORCH!r}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = sorted(set({LAZY_HEAVY!r}) & set(sys.modules))\n"
        "    assert not heavy, f'{name} imports {heavy}'\n"
    )
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr.strip().splitlines()[-1]
