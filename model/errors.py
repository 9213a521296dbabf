"""Errors of the model layer. Every message says what to do next.

ModelError
├── UnknownModelError      no such name and no such path
├── CheckpointError        a file that is damaged, truncated or of an unsupported architecture
├── PullError              download, checksum, disk or network
├── NoFimTokensError       a chat model: its vocabulary has no fill-in-the-middle tokens
└── EngineError            the engine could not answer this request
"""

from __future__ import annotations


class ModelError(Exception):
    """Base of all errors this layer raises to its callers."""


class UnknownModelError(ModelError):
    pass


class CheckpointError(ModelError):
    pass


class PullError(ModelError):
    pass


class NoFimTokensError(ModelError):
    pass


class EngineError(ModelError):
    pass
