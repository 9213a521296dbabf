"""CrossCodeEval's official steps 1–2: cut the prediction to one statement, drop comments.

Step 1 in python needs a parser: the shortest prefix of the completion after which ``prompt + prefix`` parses without an
ERROR node and the next character is a newline. Java, TypeScript and C# are cut after the first ``;``, ``}`` or ``{``.
"""

from __future__ import annotations

import re

import tree_sitter
import tree_sitter_python

_COMMENTS = (re.compile(r"#.*"), re.compile(r"//.*"))
_BRACKET_LANGUAGES = frozenset({"java", "typescript", "csharp"})


def _has_error(tree: tree_sitter.Tree) -> bool:
    """An ERROR node anywhere; MISSING nodes do not count (the official check looks at node types only)."""
    root = tree.root_node
    if not root.has_error:
        return False
    stack = [root]
    while stack:
        node = stack.pop()
        if node.type == "ERROR":
            return True
        stack.extend(child for child in node.children if child.has_error)
    return False


class StatementCutter:
    """Step 1 for one prompt; keeps its parser, so one object serves a whole run."""

    def __init__(self) -> None:
        self._parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_python.language()))

    def cut(self, prompt: str, completion: str, language: str) -> str:
        return self._find(prompt, completion, language) or completion

    def complete(self, prompt: str, completion: str, language: str) -> bool:
        """Whether more text could no longer change the cut."""
        return self._find(prompt, completion, language) is not None

    def _find(self, prompt: str, completion: str, language: str) -> str | None:
        if language in _BRACKET_LANGUAGES:
            # A cut at index 0 is ignored: the official script tests the index for truth.
            end = next((i for i, char in enumerate(completion) if char in ";}{"), 0)
            return completion[: end + 1] if end else None
        for end in (i for i, char in enumerate(completion) if char == "\n" and i > 0):
            if not _has_error(self._parser.parse((prompt + completion[:end]).encode())):
                return completion[:end].rstrip()
        return None


def remove_comments(code: str) -> str:
    """``#`` then ``//`` to the end of the line, both in every language, strings not respected: as published."""
    for pattern in _COMMENTS:
        code = pattern.sub("", code)
    return code
