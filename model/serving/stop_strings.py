"""OpenAI's ``stop`` texts: the answer ends before the first that appears."""

from __future__ import annotations

from dataclasses import replace

from holefill.model.request import Chunk, FinishReason


class StopStrings:
    """Holds back text that may be the start of a stop text, so that a stream never shows one."""

    def __init__(self, strings: tuple[str, ...]) -> None:
        self._strings = strings
        self._held = ""
        self.hit = False

    def filter(self, chunk: Chunk) -> Chunk:
        finish = None if chunk.finish is None else FinishReason.STOP_TOKEN
        if self.hit:
            return replace(chunk, text="", token_ids=(), logprobs=(), finish=finish)
        text = self._held + chunk.text
        found = [at for string in self._strings if (at := text.find(string)) >= 0]
        if found:
            self.hit = True
            return replace(chunk, text=text[: min(found)], finish=finish)
        keep = 0 if chunk.finish is not None else max((_overlap(text, string) for string in self._strings), default=0)
        self._held = text[len(text) - keep :]
        return replace(chunk, text=text[: len(text) - keep])


def _overlap(text: str, string: str) -> int:
    """Length of the longest end of ``text`` that begins ``string``."""
    return next((n for n in range(min(len(string) - 1, len(text)), 0, -1) if text.endswith(string[:n])), 0)
