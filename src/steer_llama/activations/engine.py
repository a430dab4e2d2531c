"""Teacher-forcing the target through both answers of every pair, and keeping the means."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steer_llama.activations.layout import Layout, PairFacts
from steer_llama.activations.positions import check_positions, masks_of
from steer_llama.activations.writer import ActivationWriter, PairActivations
from steer_llama.config import ExtractSettings
from steer_llama.errors import ContextLengthError, FileError, ModelError
from steer_llama.files import digest_json
from steer_llama.lm.capture import pool
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.tokens import AnswerTokens, check_context, divergence_index, encode_answer
from steer_llama.progress import Reporter
from steer_llama.records import Pair


@dataclass(frozen=True)
class EncodedPair:
    """A pair as the model reads it."""

    name: str
    chosen: AnswerTokens
    rejected: AnswerTokens
    divergence: int

    @property
    def arms(self) -> tuple[AnswerTokens, AnswerTokens]:
        """Chosen, rejected."""
        return self.chosen, self.rejected


def extract_pairs(
    model: LanguageModel, pairs: Sequence[Pair], settings: ExtractSettings, path: Path, reporter: Reporter
) -> int:
    """Read every pair and write the activations file; goes on where an earlier, interrupted call stopped.

    Returns:
        How many pairs the file holds.

    Raises:
        ContextLengthError: a pair does not fit the model's context (and ``skip_too_long`` is off).
        ConflictError: another process is writing the same file.
        FileError: no pair is left.
        ModelError: the residual stream overflows the model's type.
        StorageError: the file cannot be written.
    """
    positions = check_positions(settings.positions)
    encoded = _encode_all(model, pairs, settings, reporter)
    layout = Layout(
        model=model.name,
        model_fingerprint=model.fingerprint,
        dtype=model.dtype,
        n_layers=model.n_layers,
        width=model.width,
        positions=positions,
        tokens=settings.tokens,
        pairs=tuple(_facts(pair, positions) for pair in encoded),
        texts_fingerprint=digest_json([[arm.ids for arm in pair.arms] for pair in encoded]),
    )
    writer = ActivationWriter(path, layout, settings.save_every)
    try:
        if writer.resumed_note:
            reporter.note(writer.resumed_note)
        with reporter.task("reading activations", len(encoded), "pairs", writer.done) as advance:
            for pair in encoded[writer.done :]:
                writer.append(_read_pair(model, pair, positions, keep_tokens=settings.tokens))
                advance(1)
        writer.finish()
    finally:
        writer.close()
    return len(encoded)


def encode_pair(model: LanguageModel, pair: Pair) -> EncodedPair:
    """Both conversations of a pair as tokens, and where they diverge."""
    chosen = encode_answer(model.tokenizer, pair.prompt, pair.chosen)
    rejected = encode_answer(model.tokenizer, pair.rejected_prompt or pair.prompt, pair.rejected)
    return EncodedPair(pair.name, chosen, rejected, divergence_index(chosen.ids, rejected.ids))


def _encode_all(
    model: LanguageModel, pairs: Sequence[Pair], settings: ExtractSettings, reporter: Reporter
) -> list[EncodedPair]:
    kept: list[EncodedPair] = []
    too_long: list[str] = []
    no_tokens: list[str] = []
    for pair in pairs:
        encoded = encode_pair(model, pair)
        try:
            check_context(max(len(arm.ids) for arm in encoded.arms), model.context_length, f"the pair {pair.name!r}")
        except ContextLengthError as error:
            if not settings.skip_too_long:
                raise ContextLengthError(f"{error} Or keep such pairs out with --skip-too-long.") from None
            too_long.append(pair.name)
            continue
        if any(len(arm.ids) <= max(encoded.divergence, arm.response_start) for arm in encoded.arms):
            no_tokens.append(pair.name)
            continue
        kept.append(encoded)
    for reason, names in (("too long", too_long), ("no answer tokens after the divergence", no_tokens)):
        if names:
            reporter.note(f"{len(names)} pairs kept out, {reason}: {', '.join(map(repr, names))}")
    if not kept:
        raise FileError(
            f"none of the {len(pairs)} pairs can be read: {len(too_long)} too long, {len(no_tokens)} empty."
        )
    return kept


def _facts(pair: EncodedPair, positions: tuple[str, ...]) -> PairFacts:
    return PairFacts(
        name=pair.name,
        divergence_index=pair.divergence,
        response_start=(pair.chosen.response_start, pair.rejected.response_start),
        length=(len(pair.chosen.ids), len(pair.rejected.ids)),
        counts_AP=np.stack([masks_of(arm, pair.divergence, positions).sum(axis=1) for arm in pair.arms]),
    )


def _read_pair(
    model: LanguageModel, pair: EncodedPair, positions: tuple[str, ...], *, keep_tokens: bool
) -> PairActivations:
    chosen, rejected = (
        pool(model, arm.ids, masks_of(arm, pair.divergence, positions), keep_tokens=keep_tokens) for arm in pair.arms
    )
    if not all(np.isfinite(arm.mean_PLD).all() and np.isfinite(arm.norm_L).all() for arm in (chosen, rejected)):
        raise ModelError(
            f"the pair {pair.name!r}: the residual stream overflows in {model.dtype} (NaN or infinity). "
            "Use --dtype bfloat16 or float32."
        )
    return chosen, rejected
