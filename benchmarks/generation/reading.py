"""Batches of prompts, and answers out of what a library gives back.

Shapes: B batch, T tokens.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from generation.work import Answer, Asked


def padded(rows: Sequence[Asked], pad: int) -> dict[str, Tensor]:
    """Their prompts, padded on the left, with the attention mask (both (B, T))."""
    longest = max(len(row.ids) for row in rows)
    ids_BT = torch.full((len(rows), longest), pad)
    mask_BT = torch.zeros_like(ids_BT)
    for place, row in enumerate(rows):
        ids_BT[place, longest - len(row.ids) :] = torch.tensor(row.ids)
        mask_BT[place, longest - len(row.ids) :] = 1
    return {"input_ids": ids_BT, "attention_mask": mask_BT}


class Reader:
    """Reads answers as steer-llama does: up to the stop token, nothing tidied, no half character at the cut."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.stop: int = self.tokenizer.eos_token_id

    def read(self, written_BT: Tensor) -> list[Answer]:
        """The answers of a batch, given the tokens after the prompt."""
        return [self._read(row) for row in written_BT.tolist()]

    def _read(self, ids: list[int]) -> Answer:
        ended = self.stop in ids
        kept = ids[: ids.index(self.stop)] if ended else ids
        text: str = self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Answer((text if ended else text.rstrip("\N{REPLACEMENT CHARACTER}")).strip(), len(kept))
