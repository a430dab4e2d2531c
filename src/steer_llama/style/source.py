"""A text by lines, eaten from the left while its blocks are read; every answer is a span of the text itself."""

from collections.abc import Callable, Iterable, Iterator

import regex

Span = tuple[int, int]
"""``[start, end)`` in str indices."""

# The parser's notion of a line; str.splitlines knows more kinds.
_LINE = regex.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")
_BLANK = " \t"


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same characters as sorted, disjoint spans; empty ones vanish, touching ones become one."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return tuple(result)


class Source:
    """The lines of a text, each with how far it is eaten."""

    def __init__(self, text: str) -> None:
        """Split ``text`` as the parser does: at LF, CR LF or CR."""
        lines = [match.span() for match in _LINE.finditer(text)]
        # As the parser: a zero byte is shown as the replacement character.
        self._lines = [text[start:end].rstrip("\r\n").replace("\0", "\ufffd") for start, end in lines]
        self._starts = [start for start, _ in lines]
        self._eaten = [0] * len(lines)

    def left(self, line: int) -> str:
        """What is left of a line, without blanks around it."""
        return self._lines[line][self._eaten[line] :].strip(_BLANK)

    def rest(self, line: int) -> Span:
        """Where `left` stands in the text."""
        start = self._skip(line)
        return self._starts[line] + start, self._starts[line] + start + len(self.left(line))

    def eat(self, line: int, mark: str) -> Iterator[Span]:
        """Take ``mark`` off the left of a line, if it stands there."""
        start = self._skip(line)
        if self._lines[line].startswith(mark, start):
            self._eaten[line] = start + len(mark)
            yield self._starts[line] + start, self._starts[line] + start + len(mark)

    def search(self, line: int, pattern: "regex.Pattern[str]") -> Iterator[Span]:
        """All that matches in what is left of a line; nothing is taken off."""
        for match in pattern.finditer(self._lines[line], self._eaten[line]):
            yield self._starts[line] + match.start(), self._starts[line] + match.end()

    def paragraph(self, content: str, first: int) -> Callable[[int, int], Iterator[Span]]:
        """How positions in a block's ``content``, which begins in line ``first``, map to the text.

        A line of the content is the end of its source line: what stood before (indentation, marks) was taken off.
        """
        shifts: list[tuple[int, int, int]] = []
        position = 0
        for number, part in enumerate(content.split("\n")):
            line = self._lines[first + number]
            body = part.strip()
            at = line.rstrip().rfind(body)  # not at the very end only where a heading closes with hashes
            if body and at >= 0:
                indent = len(part) - len(part.lstrip())
                shifts.append((position + indent, position + indent + len(body), self._starts[first + number] + at))
            position += len(part) + 1
        return lambda start, end: _shifted(shifts, start, end)

    def cell(self, content: str, line: int) -> Callable[[int, int], Iterator[Span]]:
        """As `paragraph`, for a table's cells, which must be asked for from left to right.

        A cell with an escaped pipe is not the text's own; its inline marks are left out.
        """
        at = self._lines[line].find(content, self._eaten[line])
        if at < 0:
            return lambda _start, _end: iter(())
        self._eaten[line] = at + len(content)
        shift = self._starts[line] + at
        return lambda start, end: iter([(start + shift, end + shift)])

    def _skip(self, line: int) -> int:
        text = self._lines[line]
        start = self._eaten[line]
        return len(text) - len(text[start:].lstrip(_BLANK))


def _shifted(shifts: list[tuple[int, int, int]], start: int, end: int) -> Iterator[Span]:
    """The parts of ``[start, end)`` that lie in the mapped lines (a link's address may go over a line's end)."""
    for first, last, target in shifts:
        low, high = max(start, first), min(end, last)
        if low < high:
            yield target + low - first, target + high - first
