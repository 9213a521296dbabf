"""How much an engine may take, and in what pieces it computes."""

from __future__ import annotations

from dataclasses import dataclass

CACHE_MB = 256.0
"""For keys and values: 36 prompts of 600 tokens of the 0.5B on the native kernels, whose cache is fp16."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    name: str = ""
    max_context: int = 8192
    """Tokens of prompt and answer together."""
    cache_mb: float | None = None
    """Memory for keys and values at most; by default 256 or that of one whole context, whichever is more (fp16: 96 MB
    for the 0.5B, 224 for the 1.5B; twice that in fp32). A CPU takes only what is used of it."""
    prefill_chunk: int = 256
    """Most rows of one forward of a prompt. More at once are no faster on one core, and faster on two (LOG.md)."""
    first_chunk: int = 32
    """Rows of a prompt's first forward; see ``rows_after``."""
    cold_rows: int = 128
    """With so many rows to compute a prompt is cold, and nothing ends its first forward: keys that each cancel the one
    before get ahead by its rows."""
    draft_budget: int = 16
    vocab_size: int | None = None
    """Rows of the embedding, when it has more than the tokenizer."""

    def rows_after(self, computed: int) -> int:
        """Most rows of the next forward of a prompt of which so many are computed.

        A forward that is ended early leaves nothing to keep. So none has more rows than were computed before it: a key
        that cancels loses half of the work at most, or the first forward.
        """
        return min(max(self.first_chunk, computed), self.prefill_chunk)

    def pool_rows(self, row_bytes: int) -> int:
        """Tokens whose keys and values are kept at most; ``row_bytes``: of one."""
        rows = int((self.cache_mb or CACHE_MB) * 2**20) // row_bytes
        return max(rows, self.max_context if self.cache_mb is None else 1)
