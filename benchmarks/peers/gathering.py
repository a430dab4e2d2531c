"""From files of pairs to `Work`: tokens and response positions are found once, by us, and given to everybody."""

from itertools import islice
from pathlib import Path

import numpy as np
from transformers.utils import logging

from peers.work import Conversation, Work
from steer_llama.activations import encode_pair, masks_of
from steer_llama.config import ModelSettings
from steer_llama.elicitations import read_elicitation
from steer_llama.lm.embedded import NAME, embedded_folder
from steer_llama.lm.load import load_model
from steer_llama.packaged import packaged_traits
from steer_llama.pairs import read_pairs
from steer_llama.progress import SilentReporter
from steer_llama.records import Pair, as_json

_REAL = tuple(f"shared/data/pi_llama/{trait}_elicited_filtered.json" for trait in ("formatting", "playful"))
"""Real answers of Pi and Llama-3.3-70B, looked for beside the repository (they are no part of it)."""
_MADE = 16
_ANSWER_CHARACTERS = (400, 2600)
"""Of the answers that are made up; the real ones are about as long."""


def find_pairs(files: list[Path]) -> tuple[list[Pair], str]:
    """The pairs, and one sentence on where they are from."""
    if not files:
        beside = Path(__file__).resolve().parents[2].parent
        files = [beside / name for name in _REAL if (beside / name).is_file()]
    if not files:
        return made_up(), f"{_MADE} made-up pairs (no --pairs, and no real ones beside the repository)"
    pairs = [pair for file in files for pair in read_pairs(file).pairs]
    return pairs, f"{len(pairs)} pairs of {', '.join(file.name for file in files)}"


def made_up(count: int = _MADE) -> list[Pair]:
    """Packaged questions, and answers of various lengths out of other packaged sentences; always the same."""
    asked = [read_elicitation(trait) for trait in packaged_traits()]
    questions = [question for each in asked for question in each.questions]
    styles = [[pair.pos for each in asked for pair in each.instruction], questions]
    random = np.random.default_rng(0)

    def answer(sentences: list[str]) -> str:
        wanted, text = int(random.integers(*_ANSWER_CHARACTERS)), ""
        while len(text) < wanted:
            text += sentences[int(random.integers(len(sentences)))] + " "
        return text.strip()

    return [
        Pair(
            prompt=({"role": "user", "content": name},), chosen=answer(styles[0]), rejected=answer(styles[1]), name=name
        )
        for name in islice(questions, count)
    ]


def gather(pairs: list[Pair], scratch: Path) -> Work:
    """The work on the embedded model."""
    logging.disable_progress_bar()
    model = load_model(ModelSettings(path=NAME, device="cpu", dtype="float32"), SilentReporter())
    encoded = [encode_pair(model, pair) for pair in pairs]
    conversations = []
    for pair in encoded:
        starts = []
        for arm in pair.arms:
            where = np.flatnonzero(masks_of(arm, pair.divergence, ["response"])[0])
            if len(where) == 0 or where[-1] - where[0] + 1 != len(where) or where[-1] != len(arm.ids) - 1:
                raise SystemExit(f"{pair.name!r}: its response is not what stands at the end; leave the pair out.")
            starts.append(int(where[0]))
        conversations.append(
            (Conversation(pair.chosen.ids, starts[0]), Conversation(pair.rejected.ids, starts[1])),
        )
    return Work(
        folder=embedded_folder(SilentReporter()),
        scratch=scratch,
        n_layers=model.n_layers,
        width=model.width,
        pairs=tuple(conversations),
        texts=tuple(as_json(pair) for pair in pairs),
    )
