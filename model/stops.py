"""When an answer is complete: the text rule of PROMPT.md §6, one character at a time.

Being a scan, it decides at the earliest character that can decide, and any split of the text gives the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from holefill.model.request import FinishReason, Shape, StopSpec

OPENERS = {"(": ")", "[": "]", "{": "}"}
CLOSERS = frozenset(OPENERS.values())
CLOSER_LINE = frozenset(")]};, ")
DISTINCTIVE_CHARS = 4


@dataclass(frozen=True, slots=True)
class StopState:
    text: str
    """The answer if the model stopped now."""
    settled: int
    """Length of the part of ``text`` that nothing to come can cut: what a stream may show already."""
    done: FinishReason | None = None


class _Code:
    """What kind of text the scan stands in: brackets count only in code."""

    def __init__(self, line_comment: str) -> None:
        self._line_comment = line_comment
        self._c_like = line_comment == "//"
        self._recent = ""  # the last few characters of this kind of text
        self._quote = ""  # the delimiter of the open string
        self._comment = ""  # "line", "block" or ""
        self.open: list[str] = []  # closers awaited by brackets the answer opened
        self.continued = False  # a backslash ends the line so far
        self.last = ""  # the last character that is neither blank nor in a comment

    def multi_line(self) -> bool:
        """Whether a newline here does not end the statement."""
        unfinished = len(self._quote) == 3 or self._quote == "`" or self._comment == "block"
        return bool(self.open) or unfinished or self.continued

    def step(self, char: str) -> bool:
        """Take one character; True when it is a closing bracket that the answer did not open."""
        if char == "\n":
            self._newline()
            return False
        unmatched = False
        if self._comment:
            self._in_comment(char)
        elif self._quote:
            self._in_string(char)
        else:
            unmatched = self._in_code(char)
        self.continued = char == "\\" and not self._comment
        if not (self._comment or char.isspace()):
            self.last = char
        return unmatched

    def _newline(self) -> None:
        if self._comment == "line":
            self._comment = ""
        if len(self._quote) == 1 and self._quote != "`" and not self.continued:
            self._quote = ""  # an unterminated string ends with its line
        self._recent = ""
        self.continued = False

    def _in_comment(self, char: str) -> None:
        self._recent = self._recent[-1:] + char
        if self._comment == "block" and self._recent == "*/":
            self._comment = self._recent = ""

    def _in_string(self, char: str) -> None:
        if self._recent[-1:] == "\\":
            self._recent = ""  # this character is escaped
            return
        self._recent = self._recent[-2:] + char
        if self._recent.endswith(self._quote):
            # Two quotes are an empty string, or the start of a triple quote: `_in_code` tells by what follows.
            self._recent = self._quote * 2 if self._recent == self._quote and len(self._quote) == 1 else ""
            self._quote = ""

    def _in_code(self, char: str) -> bool:
        before, self._recent = self._recent, self._recent[-3:] + char
        if char in "\"'`" and self._opens_string(char, before):
            self._quote = char * 3 if before == char * 2 else char
            self._recent = ""
        elif self._line_comment and self._recent.endswith(self._line_comment):
            self._comment = "line"
        elif self._c_like and self._recent.endswith("/*"):
            self._comment, self._recent = "block", ""
        elif char in OPENERS:
            self.open.append(OPENERS[char])
        elif char in CLOSERS:
            if not self.open:
                return True
            self.open.pop()
        return False

    def _opens_string(self, char: str, before: str) -> bool:
        if char == "`":
            return self._c_like
        return not (char == "'" and self._c_like and before[-1:] in ("<", "&"))  # a Rust lifetime


class StopRule:
    """Feed pieces of the answer until ``done``; text past the cut is dropped."""

    def __init__(self, spec: StopSpec) -> None:
        self._spec = spec
        self._code = _Code(spec.line_comment)
        self._text: list[str] = []
        self._done: StopState | None = None
        self._line_start = 0
        self._line: list[str] = []
        self._line_has_text = False
        self._line_depth = 0  # brackets open where the line starts
        self._settled_before_line = 0  # end of the last line with content
        self._has_content = False
        self._shape, self._indent = spec.shape, spec.indent

    def feed(self, piece: str) -> StopState:
        for char in piece:
            if self._done is not None:
                return self._done
            self._done = self._step(char)
        return self._done or StopState("".join(self._text), self._settled())

    def finish(self) -> StopState:
        """The model stopped by itself: the last line counts as complete."""
        if self._done is None and self._repeats_suffix():
            self._done = self._cut(self._line_start, FinishReason.SUFFIX_LINE)
        if self._done is None:
            text = "".join(self._text)
            return StopState(text, len(text))
        return self._done

    def _step(self, char: str) -> StopState | None:
        if char == "\n":
            return self._end_line()
        if self._dedents(char):
            return self._cut(self._line_start, FinishReason.SHAPE)
        if self._code.step(char) and char == self._spec.closers[:1]:
            return self._cut_before_closer()
        self._text.append(char)
        self._line.append(char)
        if not char.isspace():
            self._line_has_text = self._has_content = True
        return None

    def _end_line(self) -> StopState | None:
        if self._repeats_suffix():
            return self._cut(self._line_start, FinishReason.SUFFIX_LINE)
        if self._shape_complete():
            return self._cut(len(self._text), FinishReason.SHAPE)
        self._code.step("\n")
        if self._line_has_text:
            self._settled_before_line = len("".join(self._text).rstrip())
        self._text.append("\n")
        self._line_start = len(self._text)
        self._line.clear()
        self._line_has_text = False
        self._line_depth = len(self._code.open)
        return None

    def _shape_complete(self) -> bool:
        """Whether the newline that comes now completes the shape."""
        match self._shape:
            case Shape.LINE:
                return self._has_content
            case Shape.STATEMENT:
                return self._has_content and not self._code.multi_line() and not self._heads_a_block()
            case Shape.BLOCK:
                return self._has_content and not self._line_has_text
            case Shape.NONE:
                return False

    def _heads_a_block(self) -> bool:
        """Whether the line that ends now heads a block that only the answer can have; then its lines belong to it."""
        if not self._spec.head or self._code.last != self._spec.head:
            return False
        own = len(self._line) - len("".join(self._line).lstrip()) if self._line_start else self._spec.indent
        if self._spec.next_indent > own:
            return False
        self._shape, self._indent = Shape.BLOCK, own + 1
        return True

    def _dedents(self, char: str) -> bool:
        """The first character of a line that stands left of the block."""
        first = self._line_start > 0 and not self._line_has_text and not char.isspace()
        return first and self._shape is Shape.BLOCK and len(self._line) < self._indent

    def _repeats_suffix(self) -> bool:
        """Whether the line so far, taken as complete, is one of the suffix's.

        Two kinds of line are too common to say so on the cursor's own line, which they complete: a short one and one
        of closers only; the latter repeats the suffix only where it closes nothing the answer opened. A later line of
        the suffix must be distinctive, and must not be all there is: `return False` often stands twice (HumanEval-FIM:
        8 of 600 answers would be empty).
        """
        line = "".join(self._line).strip()
        if not line or line not in self._spec.suffix_lines:
            return False
        own_line, next_line = self._line_start == 0, line == self._spec.suffix_lines[0]
        if CLOSER_LINE.issuperset(line):
            return next_line and not own_line and self._line_depth == 0
        distinctive = sum(not char.isspace() for char in line) >= DISTINCTIVE_CHARS
        if next_line:
            return distinctive or not own_line
        return distinctive and self._settled_before_line > 0

    def _may_repeat_suffix(self) -> bool:
        line = "".join(self._line).strip()
        return any(suffix_line.startswith(line) for suffix_line in self._spec.suffix_lines)

    def _settled(self) -> int:
        if self._spec.shape is Shape.NONE and not self._spec.suffix_lines and not self._spec.closers:
            return len(self._text)  # no rule can cut
        if not self._line_has_text or self._may_repeat_suffix():
            return self._settled_before_line
        return len("".join(self._text).rstrip())

    def _cut(self, at: int, reason: FinishReason) -> StopState:
        text = "".join(self._text[:at]).rstrip()
        return StopState(text, len(text), reason)

    def _cut_before_closer(self) -> StopState:
        """Blanks that only indented the closer go with it; a space on a line with text stays."""
        if not self._line_has_text:
            return self._cut(self._line_start, FinishReason.CLOSER)
        text = "".join(self._text)
        return StopState(text, len(text), FinishReason.CLOSER)
