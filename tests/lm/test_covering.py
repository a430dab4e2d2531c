"""Which tokens cover an emoji: all of its own, and no neighbouring word's."""

import random

import numpy as np
import pytest

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.tokens import AnswerTokens, encode_answer
from steer_llama.style.spans import emoji_spans
from tests.lm.models import byte_level, sentencepiece_like

EMOJI = ["😀", "🙈", "🎉🎉", "👨‍👩‍👧", "🇫🇷", "👍🏽", "❤️"]
TOKENIZERS = {
    "merges": byte_level(),
    "bytes only": byte_level(0),
    "trimmed offsets": byte_level(trim_offsets=True),
    "metaspace": sentencepiece_like(metaspace=True),
    "prepend": sentencepiece_like(metaspace=False),
}


@pytest.mark.parametrize("emoji", EMOJI)
@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_every_token_of_an_emoji_and_no_word(name: str, emoji: str) -> None:
    answer = f"the fox {emoji} jumps{emoji}the fox"
    encoded = encode_answer(TOKENIZERS[name], [{"role": "user", "content": f"fox {emoji}"}], answer)
    _check_by_decoding(TOKENIZERS[name], encoded, answer)


@pytest.mark.parametrize("emoji", EMOJI)
def test_emoji_of_the_embedded_model(smollm2: LanguageModel, emoji: str) -> None:
    answer = f"Yes, {emoji} it is{emoji}now {emoji}{emoji}"
    encoded = encode_answer(smollm2.tokenizer, [{"role": "user", "content": emoji}], answer)
    _check_by_decoding(smollm2.tokenizer, encoded, answer)


def _check_by_decoding(tokenizer: object, encoded: AnswerTokens, answer: str) -> None:
    """Independent of the offsets: bytes are counted token by token."""
    spans = emoji_spans(answer)
    assert spans
    mask = encoded.covering(spans)
    assert not mask[: encoded.response_start].any()
    lengths = [len(_bytes(tokenizer, token)) for token in encoded.ids[encoded.response_start :]]
    ends = np.cumsum(lengths)
    # A dummy space that the tokenizer puts in front shifts every byte by one.
    shift = int(ends[-1]) - len(answer.encode())
    assert shift in (0, 1)
    emoji_bytes = {
        index + shift
        for start, end in spans
        for index in range(len(answer[:start].encode()), len(answer[:end].encode()))
    }
    expected = [
        any(b in emoji_bytes for b in range(end - n, end)) for n, end in zip(lengths, ends.tolist(), strict=True)
    ]
    assert mask[encoded.response_start :].tolist() == expected
    assert any(expected)
    assert not all(expected)


def _bytes(tokenizer: object, token: int) -> bytes:
    piece: str = tokenizer.convert_ids_to_tokens(token)  # type: ignore[attr-defined]
    if piece.startswith("<0x"):
        return bytes([int(piece[3:-1], 16)])
    if "▁" in piece or not all(letter in _BYTE_OF for letter in piece):
        return piece.replace("▁", " ").encode()
    return bytes(_BYTE_OF[letter] for letter in piece)


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's letters for bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(byte): byte for byte in printable}
    rest = [byte for byte in range(256) if byte not in printable]
    return letters | {chr(256 + index): byte for index, byte in enumerate(rest)}


_BYTE_OF = _byte_alphabet()


def test_against_brute_force() -> None:
    draw = random.Random(0)
    for _ in range(3000):
        encoded, spans = _random_case(draw)
        wanted = {c + encoded.answer_start for a, b in spans for c in range(a, b)}
        expected = [
            index >= encoded.response_start and bool(wanted & set(range(start, end)))
            for index, (start, end) in enumerate(encoded.spans)
        ]
        assert encoded.covering(spans).tolist() == expected, (encoded, spans)


def _random_case(draw: random.Random) -> tuple[AnswerTokens, list[tuple[int, int]]]:
    """Tokens as a byte-level tokenizer cuts them: characters of 1 to 4 bytes, tokens of 1 to 5 bytes."""
    char_of_byte = [c for c in range(draw.randint(1, 12)) for _ in range(draw.choice((1, 1, 4)))]
    tokens: list[tuple[int, int]] = []
    byte = 0
    while byte < len(char_of_byte):
        end = min(len(char_of_byte), byte + draw.randint(1, 5))
        tokens.append((char_of_byte[byte], char_of_byte[end - 1] + 1))
        byte = end
    answer_start = draw.randint(0, char_of_byte[-1])
    length = char_of_byte[-1] + 1 - answer_start
    response_start = next(i for i, (_, end) in enumerate(tokens) if end > answer_start)
    spans = [(a, draw.randint(a, length)) for a in (draw.randint(0, length) for _ in range(draw.randint(0, 4)))]
    encoded = AnswerTokens(tuple(range(len(tokens))), tuple(tokens), "x" * length, answer_start, response_start)
    return encoded, spans
