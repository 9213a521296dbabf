"""What this layer raises.

ContextError
├── NoFimFormatError
└── PolicyError
"""

from __future__ import annotations


class ContextError(Exception):
    """Base of this layer's errors; the text tells the user what to do."""


class NoFimFormatError(ContextError):
    """The tokenizer has no fill-in-the-middle tokens, so the model cannot complete at a cursor."""


class PolicyError(ContextError):
    """A policy file cannot be used; the text says which row and what to change."""
