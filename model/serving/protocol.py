"""The HTTP bodies both sides speak: OpenAI's ``/v1/completions`` and our optional ``holefill`` fields."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from holefill.model.constrain.constraint import Constraint
from holefill.model.request import Candidate, Chunk, FinishReason, GenerateRequest, Sampling, Shape, StopSpec, Timing

PROTOCOL = 2  # raise when an old client would misread a new server's `holefill` field
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_NEW_TOKENS = 4096
MAX_STOP_STRINGS = 16
MAX_ALTERNATIVES = 16


class BadRequestError(ValueError):
    """The text names the field and what it must be."""


@dataclass(frozen=True, slots=True)
class CompletionBody:
    """A checked body. ``prompt`` is text or ids; ``suffix`` only with text."""

    prompt: str | tuple[int, ...]
    suffix: str | None
    stop_strings: tuple[str, ...]
    stream: bool
    logprobs: bool
    max_tokens: int
    sampling: Sampling
    stop: StopSpec
    deadline_ms: float | None
    background: bool
    draft_texts: tuple[str, ...]
    repository: str = ""
    constraint: Constraint | None = None
    alternatives: int = 0
    foresight: bool = False
    typed: str = ""

    def request(self, prompt_ids: tuple[int, ...]) -> GenerateRequest:
        return GenerateRequest(
            prompt_ids,
            max_tokens=self.max_tokens,
            stop=self.stop,
            sampling=self.sampling,
            deadline_ms=self.deadline_ms,
            background=self.background,
            draft_texts=self.draft_texts,
            repository=self.repository,
            constraint=self.constraint,
            alternatives=self.alternatives,
            foresight=self.foresight,
            typed=self.typed,
        )


def parse_body(raw: bytes) -> CompletionBody:
    """Unknown fields are ignored, as every client of this API expects; a known one of a wrong type is an error."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is not JSON: {error}") from error
    body = _Fields(data, "")
    extra = _Fields(body.value("holefill", {}), "holefill.")
    if body.value("n", 1) not in (1, None) or body.value("best_of", 1) not in (1, None):
        raise BadRequestError("n and best_of must be 1: ask again for another answer")
    if body.value("echo", False):
        raise BadRequestError("echo is not supported")
    prompt = _prompt(body.value("prompt", None))
    suffix = body.value("suffix", None)
    if suffix is not None and not (isinstance(suffix, str) and isinstance(prompt, str)):
        raise BadRequestError("suffix must be text, with a prompt that is text")
    deadline = extra.value("deadline_ms", None)
    return CompletionBody(
        prompt=prompt,
        suffix=suffix,
        stop_strings=_stop_strings(body.value("stop", None)),
        stream=body.flag("stream"),
        logprobs=body.value("logprobs", None) not in (None, False),
        max_tokens=int(body.number("max_tokens", 16, 0, MAX_NEW_TOKENS, whole=True)),
        sampling=Sampling(
            temperature=body.number("temperature", 0.0, 0, 100),
            top_p=body.number("top_p", 1.0, 0, 1),
            top_k=int(body.number("top_k", 0, -1, 1 << 31, whole=True)),
            seed=int(body.number("seed", 0, -(1 << 63), 1 << 64, whole=True)),
        ),
        stop=_stop_spec(_Fields(extra.value("stop", {}), "holefill.stop.")),
        deadline_ms=None if deadline is None else extra.number("deadline_ms", 0.0, 0, 1e9),
        background=extra.flag("background"),
        draft_texts=extra.texts("draft_texts"),
        repository=extra.text("repository", ""),
        constraint=_constraint(extra.value("constraint", None)),
        alternatives=int(extra.number("alternatives", 0, 0, MAX_ALTERNATIVES, whole=True)),
        foresight=extra.flag("foresight"),
        typed=extra.text("typed", ""),
    )


class _Fields:
    """Typed look-ups in one JSON object; errors carry the field's full name."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise BadRequestError(f"{where.rstrip('.') or 'the body'} must be an object")
        self._data = data
        self._where = where

    def value(self, name: str, default: Any) -> Any:
        return self._data.get(name, default)

    def flag(self, name: str) -> bool:
        value = self._data.get(name)
        if value not in (None, True, False):
            raise BadRequestError(f"{self._where}{name} must be true or false")
        return bool(value)

    def number(self, name: str, default: float, low: float, high: float, *, whole: bool = False) -> float:
        value = self._data.get(name)
        if value is None:
            return default
        right_type = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not right_type or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise BadRequestError(f"{self._where}{name} must be {kind} from {low:g} to {high:g}")
        return value if whole else float(value)

    def text(self, name: str, default: str) -> str:
        value = self._data.get(name, default)
        if not isinstance(value, str):
            raise BadRequestError(f"{self._where}{name} must be text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._data.get(name) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise BadRequestError(f"{self._where}{name} must be a list of texts")
        return tuple(value)


def _prompt(value: Any) -> str | tuple[int, ...]:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], (str, list)):
        value = value[0]  # a batch of one
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(type(item) is int for item in value):
        return tuple(value)
    raise BadRequestError("prompt must be one non-empty text or one non-empty list of token ids")


def _stop_strings(value: Any) -> tuple[str, ...]:
    found = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(found, list) or len(found) > MAX_STOP_STRINGS or not all(isinstance(s, str) and s for s in found):
        raise BadRequestError(f"stop must be a text or a list of at most {MAX_STOP_STRINGS} non-empty texts")
    return tuple(found)


def _constraint(value: Any) -> Constraint | None:
    if value is None:
        return None
    given = _Fields(value, "holefill.constraint.")
    language, prefix, suffix = (given.text(name, "") for name in ("language", "prefix", "suffix"))
    return Constraint(language, prefix, suffix, given.texts("names"), given.flag("unfinished"))


def _stop_spec(extra: _Fields) -> StopSpec:
    shape = extra.text("shape", Shape.NONE.value)
    if shape not in [known.value for known in Shape]:
        raise BadRequestError(f"holefill.stop.shape must be one of {', '.join(Shape)}")
    return StopSpec(
        shape=Shape(shape),
        indent=int(extra.number("indent", 0, 0, 1 << 16, whole=True)),
        suffix_lines=extra.texts("suffix_lines"),
        closers=extra.text("closers", ""),
        line_comment=extra.text("line_comment", "#"),
        head=extra.text("head", ""),
        next_indent=int(extra.number("next_indent", 0, 0, 1 << 16, whole=True)),
    )


def dump_request(request: GenerateRequest, model: str, *, own: bool) -> dict[str, Any]:
    """The body of one request: with our fields and token ids for our own server, plain OpenAI for any other."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(request.prompt_ids) if own else request.prompt_text,
        "max_tokens": request.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "logprobs": 1,
        "stream": True,
    }
    if own:
        body["top_k"] = sampling.top_k
        body["holefill"] = {
            "stop": asdict(request.stop),
            "deadline_ms": request.deadline_ms,
            "background": request.background,
            "draft_texts": list(request.draft_texts),
            "constraint": None if request.constraint is None else asdict(request.constraint),
            "repository": request.repository,
            "alternatives": request.alternatives,
            "foresight": request.foresight,
            "typed": request.typed,
        }
    return body


def dump_chunk(chunk: Chunk, model: str, answer_id: str, created: int, tokens: list[str] | None) -> dict[str, Any]:
    """One streamed event, or the whole answer. ``tokens`` are the spellings, when logprobs were asked for."""
    logprobs = None if tokens is None else {"tokens": tokens, "token_logprobs": list(chunk.logprobs)}
    finish = None if chunk.finish is None else "length" if chunk.finish is FinishReason.LENGTH else "stop"
    event: dict[str, Any] = {
        "id": answer_id,
        "object": "text_completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "text": chunk.text, "logprobs": logprobs, "finish_reason": finish}],
        "holefill": {"token_ids": list(chunk.token_ids), "logprobs": list(chunk.logprobs)},
    }
    if chunk.candidates:
        event["holefill"]["candidates"] = [asdict(candidate) for candidate in chunk.candidates]
    if chunk.finish is not None:
        event["holefill"]["finish"] = chunk.finish.value
    if (timing := chunk.timing) is not None:
        event["holefill"]["timing"] = asdict(timing)
        event["usage"] = {
            "prompt_tokens": timing.prompt_tokens,
            "completion_tokens": timing.completion_tokens,
            "total_tokens": timing.prompt_tokens + timing.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": timing.cached_tokens},
        }
    return event


def load_chunk(event: dict[str, Any]) -> Chunk:
    """The inverse of ``dump_chunk`` on an event of our own server."""
    extra = event["holefill"]
    timing = extra.get("timing")
    known = {field.name for field in fields(Timing)}
    return Chunk(
        text=event["choices"][0]["text"],
        token_ids=tuple(extra["token_ids"]),
        logprobs=tuple(extra["logprobs"]),
        finish=FinishReason(extra["finish"]) if extra.get("finish") else None,
        candidates=tuple(
            Candidate(
                str(entry["text"]),
                float(entry["logprob"]),
                tuple(entry["token_ids"]),
                float(entry.get("end_logprob", 0.0)),
                entry.get("plain_logprob"),
            )
            for entry in extra.get("candidates", ())
        ),
        timing=Timing(**{name: value for name, value in timing.items() if name in known}) if timing else None,
    )


def error_body(message: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind}}
