"""Markdown markup of a text: which characters it is, and how often each kind occurs.

The text is parsed (CommonMark with tables and strikethrough), so ``2 * 3 * 4``, ``snake_case`` and ``#hashtag`` are
no markup.
The parser says which *lines* a block came from and nothing about where inline marks stood; `_placed` makes the inline
rules note it, and `Source` maps their positions back to the text.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import regex
from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline, autolink, backtick, emphasis, image, link, strikethrough
from markdown_it.token import Token

from steer_llama.style.source import Source, Span, merged

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "heading_open": "headings",
        "list_item_open": "bullets",
        "strong_open": "bold",
        "em_open": "italics",
        "code_inline": "code",
        "fence": "code",
        "code_block": "code",
        "link_open": "links",
        "image": "links",
        "blockquote_open": "quotes",
        "tr_open": "table_rows",
        "s_open": "struck",
        "hr": "rules",
    }
)
"""The parser's token types and what we count them as."""

_CLOSING_HASHES = regex.compile(r"(?<=[ \t])#+[ \t]*$")
_PIPE = regex.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Markup:
    """What `read_markup` found."""

    spans: tuple[Span, ...]
    """Characters that are markup: sorted, disjoint, adjacent ones merged."""
    counts: Mapping[str, int]
    """Items by kind: ``headings``, ``bullets``, ``bold``, ``italics``, ``code``, ``links``, ``quotes``, ``table_rows``,
    ``struck``, ``rules``."""


@lru_cache(maxsize=256)
def read_markup(text: str) -> Markup:
    """Parse ``text`` as markdown and find its markup (the last few texts are remembered)."""
    source = Source(text)
    env: dict[str, Any] = {}
    tokens = _PARSER.parse(text, env)
    spans = list(_block_spans(tokens, source))
    for reference in env.get("references", {}).values():
        spans += [source.rest(line) for line in range(*reference["map"])]
    counts = dict.fromkeys(KINDS.values(), 0)
    flat = (inner for token in tokens for inner in (token, *(token.children or ())))
    for kind, number in Counter(KINDS[token.type] for token in flat if token.type in KINDS).items():
        counts[kind] = number
    return Markup(merged(spans), MappingProxyType(counts))


def _block_spans(tokens: list[Token], source: Source) -> Iterator[Span]:
    """Markup of all blocks; containers come before what they contain, so each line is eaten from left to right."""
    table = False
    for token in tokens:
        first, end = token.map or (0, 0)
        if token.type == "inline":
            place = source.cell(token.content, first) if table else source.paragraph(token.content, first)
            for start, stop in _inline_spans(token):
                yield from place(start, stop)
        elif token.type in ("table_open", "table_close"):
            table = token.type == "table_open"
        yield from _marks(token, source, first, end)


def _marks(token: Token, source: Source, first: int, end: int) -> Iterator[Span]:
    """What one block, from line ``first`` to before line ``end``, has of its own markup."""
    match token.type:
        case "blockquote_open":
            for line in range(first, end):  # a lazily continued line has no mark
                yield from source.eat(line, ">")
        case "list_item_open":
            yield from source.eat(first, token.info + token.markup)
        case "heading_open" if token.markup.startswith("#"):
            yield from source.eat(first, token.markup)
            yield from source.search(first, _CLOSING_HASHES)
        case "heading_open":
            yield source.rest(end - 1)
        case "hr":
            yield source.rest(first)
        case "fence":
            yield source.rest(first)
            last = source.left(end - 1)
            if end - 1 > first and set(last) == {token.markup[0]} and len(last) >= len(token.markup):
                yield source.rest(end - 1)
        case "table_open":
            yield source.rest(first + 1)
        case "tr_open":
            yield from source.search(first, _PIPE)


def _inline_spans(token: Token) -> Iterator[Span]:
    """Markup within one block's text, as positions in ``token.content``."""
    for child in token.children or ():
        yield from child.meta.get("spans", ())
        at = child.meta.get("at")
        if at is None or child.nesting == 0:
            continue  # an asterisk that turned out to be one
        # The opening token of `**` is the inner of its two characters, the closing token too.
        start = at - 1 if child.type == "strong_open" else at
        yield start, start + len(child.markup)


def _place_run(state: StateInline, start: int, new: list[Token]) -> None:
    """Emphasis and strikethrough: a token per delimiter; which ones are markup is decided later."""
    position = state.pos
    for token in reversed(new):
        if position <= start:
            break
        position -= len(token.content)
        token.meta["at"] = position


def _place_code(state: StateInline, start: int, new: list[Token]) -> None:
    if new and new[-1].type == "code_inline":  # or a backtick that nothing closes
        width = len(new[-1].markup)
        new[-1].meta["spans"] = [(start, start + width), (state.pos - width, state.pos)]


def _place_link(state: StateInline, start: int, new: list[Token]) -> None:
    """``[``, and from ``]`` to the end of the address; an image's ``!`` belongs to its bracket."""
    bracket = start + (state.src[start] == "!")
    label_end = state.md.helpers.parseLinkLabel(state, bracket, bracket == start)
    new[-1].meta["spans"] = [(start, bracket + 1), (label_end, state.pos)]


def _place_autolink(state: StateInline, start: int, new: list[Token]) -> None:
    new[-1].meta["spans"] = [(start, start + 1), (state.pos - 1, state.pos)]


_Rule = Callable[[StateInline, bool], bool]
_Place = Callable[[StateInline, int, list[Token]], None]


def _placed(rule: _Rule, place: _Place) -> _Rule:
    """``rule``, noting in its tokens where in the block's text their marks stand."""

    def placed(state: StateInline, silent: bool) -> bool:
        start, before = state.pos, len(state.tokens)
        found = rule(state, silent)
        if found and not silent:
            place(state, start, state.tokens[before:])
        return found

    return placed


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    rules = parser.inline.ruler
    rules.at("emphasis", _placed(emphasis.tokenize, _place_run))
    rules.at("strikethrough", _placed(strikethrough.tokenize, _place_run))
    rules.at("backticks", _placed(backtick, _place_code))
    rules.at("link", _placed(link, _place_link))
    rules.at("image", _placed(image, _place_link))
    rules.at("autolink", _placed(autolink, _place_autolink))
    return parser


_PARSER = _parser()
