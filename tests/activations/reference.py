"""The mean difference once more, slowly and in another way: float64, own search for tokens, own hooks."""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from steer_llama.records import Pair

# How byte-level BPE writes bytes as letters: printable ones as themselves, the others from U+0100 on, in order.
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_BYTE_OF = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(256 + n): byte for n, byte in enumerate(byte for byte in range(256) if byte not in _PRINTABLE)
}


class Reference:
    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()

    def tokens(self, pair: Pair, answer: str) -> tuple[list[int], list[tuple[int, int]], int, int]:
        """Ids, the bytes that each covers, and the first and last byte of the answer."""
        before = self.tokenizer.apply_chat_template(list(pair.prompt), tokenize=False, add_generation_prompt=True)
        text = before + answer + "<|im_end|>\n"
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        spans, place = [], 0
        for token in self.tokenizer.convert_ids_to_tokens(ids):
            special = token in self.tokenizer.all_special_tokens
            raw = token.encode() if special else bytes(_BYTE_OF[letter] for letter in token)
            spans.append((place, place + len(raw)))
            place += len(raw)
        assert place == len(text.encode())
        begin = len(before.encode())
        return ids, spans, begin, begin + len(answer.encode())

    def response(self, pair: Pair) -> list[tuple[list[int], list[int]]]:
        """Ids and the response's token indices, of both arms."""
        arms = [self.tokens(pair, answer) for answer in (pair.chosen, pair.rejected)]
        divergence = next(i for i, (a, b) in enumerate(zip(arms[0][0], arms[1][0], strict=False)) if a != b)
        return [
            (ids, [i for i, (a, b) in enumerate(spans) if b > begin and a < end and i >= divergence])
            for ids, spans, begin, end in arms
        ]

    def marked(self, pair: Pair, answer: str, marks: list[str]) -> list[int]:
        """Tokens with a byte of one of ``marks``."""
        _, spans, begin, _ = self.tokens(pair, answer)
        raw, found = answer.encode(), set()
        for mark in marks:
            place = raw.find(mark.encode())
            while place >= 0:
                a, b = begin + place, begin + place + len(mark.encode())
                found |= {i for i, (x, y) in enumerate(spans) if y > a and x < b}
                place = raw.find(mark.encode(), place + 1)
        return sorted(found)

    def residuals(self, ids: list[int]) -> np.ndarray:
        """Output of every block (L, T, D)."""
        kept = []

        def keep(module, inputs, output):
            kept.append((output[0] if isinstance(output, tuple) else output)[0].double().numpy())

        handles = [block.register_forward_hook(keep) for block in self.model.model.layers]
        with torch.no_grad():
            self.model(torch.tensor([ids]))
        for handle in handles:
            handle.remove()
        return np.stack(kept)

    def vector(self, pairs: list[Pair]) -> np.ndarray:
        """Mean over the pairs of the differences of the means (L, D)."""
        differences = []
        for pair in pairs:
            chosen, rejected = (self.residuals(ids)[:, where].mean(axis=1) for ids, where in self.response(pair))
            differences.append(chosen - rejected)
        return np.mean(differences, axis=0)


def worst_error(found_LD: np.ndarray, expected_LD: np.ndarray) -> float:
    """Largest relative error of any layer."""
    return float((np.linalg.norm(found_LD - expected_LD, axis=1) / np.linalg.norm(expected_LD, axis=1)).max())
