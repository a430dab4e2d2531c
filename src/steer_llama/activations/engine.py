"""Teacher-forcing the target through both answers of every pair, and keeping what was asked for."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from steer_llama.activations.layout import Layout, PairFacts
from steer_llama.activations.per_sample import room_for, write_per_sample
from steer_llama.activations.positions import ANSWER, check_positions, masks_of
from steer_llama.activations.standing import Existing
from steer_llama.activations.writer import ActivationWriter
from steer_llama.config import ExtractSettings, StoreSettings
from steer_llama.errors import ContextLengthError, FileError, ModelError
from steer_llama.lm.layers import check_layers
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.reading import Conversation, Pooled, Reader, Wanted
from steer_llama.lm.tokens import AnswerTokens, check_context, divergence_index, encode_answer
from steer_llama.progress import Reporter
from steer_llama.records import Pair

_log = logging.getLogger(__name__)


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


@dataclass(frozen=True, eq=False)
class _ReadyPair:
    """What is kept of a pair until it is read: some ten bytes a token."""

    facts: PairFacts
    arms: tuple[Conversation, Conversation]


def extract_pairs(
    reader: Reader,
    pairs: Sequence[Pair],
    settings: ExtractSettings,
    path: Path,
    reporter: Reporter,
    *,
    store: StoreSettings | None = None,
    existing: Existing = "refuse",
) -> int:
    """Read every pair and write the activations file; goes on where an earlier, interrupted call stopped.

    Args:
        reader: the model.
        pairs: what it reads.
        settings: what is kept of it.
        path: the file.
        reporter: is told what is done.
        store: how the file is laid out; default: pooled.
        existing: what becomes of a file of other settings that lies there.

    Returns:
        How many pairs the file holds.

    Raises:
        ContextLengthError: a pair does not fit the model's context (and ``skip_too_long`` is off).
        ConflictError: another process is writing the same file, or one of other settings lies there.
        FileError: no pair is left.
        LayerError: a layer that the model does not have.
        ModelError: the residual stream overflows the model's type.
        StorageError: the file cannot be written.
    """
    store = store or StoreSettings()
    per_sample = store.layout == "per_sample"
    positions = (ANSWER,) if per_sample else check_positions(settings.positions)
    wants_tokens = settings.tokens or per_sample
    layers = tuple(sorted(set(range(reader.n_layers) if settings.layers is None else settings.layers)))
    check_layers(layers, reader.n_layers, reader.name)
    ready, texts = _prepare(reader, pairs, positions, settings, reporter)
    layout = Layout(
        model=reader.name,
        model_fingerprint=reader.fingerprint,
        dtype=reader.dtype,
        layers=layers,
        width=reader.width,
        positions=positions,
        tokens=wants_tokens,
        pairs=tuple(pair.facts for pair in ready),
        texts_fingerprint=texts,
        backend=settings.backend,
        model_type=reader.origin.model_type,
        revision=reader.origin.revision,
        per_sample=per_sample,
    )
    beside = room_for(layout, store) if per_sample else 0
    writer = ActivationWriter(path, layout, settings.save_every, existing, beside)
    try:
        if writer.finished:
            reporter.note(f"{path} is finished: it holds these pairs, read with these settings. Nothing to do.")
            return len(ready)
        _log.info("begun: %s, %d pairs, fingerprint %s", path, len(ready), layout.fingerprint)
        if writer.resumed_note:
            reporter.note(writer.resumed_note)
        if settings.token_budget and writer.token_budget not in (0, settings.token_budget):
            if existing != "overwrite":
                reporter.note(f"batches of {writer.token_budget} tokens, as the run that began the file had them")
            else:
                writer.restart()
                reporter.note(f"beginning anew: batches of {settings.token_budget} tokens were asked for")
        batches = reader.batches([pair.arms for pair in ready], writer.token_budget or settings.token_budget)
        writer.begin(batches)
        reporter.note(batches.reason)
        skip = writer.done
        saves = _Saves(writer.done, len(ready))
        with reporter.task("reading activations", len(ready), "pairs", writer.done) as advance:
            for batch in batches.groups:
                if skip >= len(batch):
                    skip -= len(batch)
                    continue
                # A batch is read whole even where only a part of it is new: another one would give other bits.
                conversations = [arm for number in batch for arm in ready[number].arms]
                pooled = reader.read(conversations, Wanted(layers, wants_tokens))
                for place, number in list(enumerate(batch))[skip:]:
                    arms = (pooled[2 * place], pooled[2 * place + 1])
                    _check_finite(arms, ready[number].facts.name, reader.dtype)
                    writer.append(number, arms)
                    saves.add(ready[number], writer.done)
                    advance(1)
                skip = 0
            writer.flush()
            saves.say(writer.done)
        if per_sample:
            writer.finish(lambda unfinished: write_per_sample(unfinished, path, layout, store, reporter))
        else:
            writer.finish()
    finally:
        writer.close()
    return len(ready)


class _Saves:
    """Tells the log of every write to disk."""

    def __init__(self, done: int, total: int) -> None:
        self._done, self._total, self._tokens = done, total, 0
        self._began = time.monotonic()

    def add(self, pair: _ReadyPair, done: int) -> None:
        """A pair was read; ``done`` pairs are on disk."""
        self._tokens += sum(pair.facts.length)
        self.say(done)

    def say(self, done: int) -> None:
        """Write a line, if there are more pairs on disk than in the line before."""
        if done > self._done:
            self._done = done
            seconds = time.monotonic() - self._began
            rate = self._tokens / max(seconds, 1e-9)
            _log.info("saved: %d of %d pairs, %.1f s, %.0f tokens/s", done, self._total, seconds, rate)


def encode_pair(model: Reader | LanguageModel, pair: Pair) -> EncodedPair:
    """Both conversations of a pair as tokens, and where they diverge."""
    chosen = encode_answer(model.tokenizer, pair.prompt, pair.chosen)
    rejected = encode_answer(model.tokenizer, pair.rejected_prompt or pair.prompt, pair.rejected)
    return EncodedPair(pair.name, chosen, rejected, divergence_index(chosen.ids, rejected.ids))


def _prepare(
    reader: Reader, pairs: Sequence[Pair], positions: tuple[str, ...], settings: ExtractSettings, reporter: Reporter
) -> tuple[list[_ReadyPair], str]:
    """The pairs that can be read, as tokens and masks, and the fingerprint of their tokens."""
    kept: list[_ReadyPair] = []
    too_long: list[str] = []
    no_tokens: list[str] = []
    digest = hashlib.sha256()
    with reporter.task("tokenising", len(pairs), "pairs") as advance:
        for pair in pairs:
            encoded = encode_pair(reader, pair)
            advance(1)
            longest = max(len(arm.ids) for arm in encoded.arms)
            try:
                check_context(longest, reader.context_length, f"the pair {pair.name!r}")
            except ContextLengthError as error:
                if not settings.skip_too_long:
                    raise ContextLengthError(f"{error} Or keep such pairs out with --skip-too-long.") from None
                too_long.append(pair.name)
                continue
            if any(len(arm.ids) <= max(encoded.divergence, arm.response_start) for arm in encoded.arms):
                no_tokens.append(pair.name)
                continue
            kept.append(_ready(encoded, positions))
            for arm in kept[-1].arms:
                digest.update(len(arm.ids_T).to_bytes(8, "little") + arm.ids_T.tobytes())
    for reason, names in (("too long", too_long), ("no answer tokens after the divergence", no_tokens)):
        if names:
            reporter.note(f"{len(names)} pairs kept out, {reason}: {', '.join(map(repr, names))}")
    if not kept:
        raise FileError(
            f"none of the {len(pairs)} pairs can be read: {len(too_long)} too long, {len(no_tokens)} empty."
        )
    return kept, digest.hexdigest()


def _ready(pair: EncodedPair, positions: tuple[str, ...]) -> _ReadyPair:
    masks = [masks_of(arm, pair.divergence, positions) for arm in pair.arms]
    chosen, rejected = (
        Conversation(np.array(arm.ids, np.int32), mask_PT) for arm, mask_PT in zip(pair.arms, masks, strict=True)
    )
    facts = PairFacts(
        name=pair.name,
        divergence_index=pair.divergence,
        response_start=(pair.chosen.response_start, pair.rejected.response_start),
        length=(len(pair.chosen.ids), len(pair.rejected.ids)),
        counts_AP=np.stack([mask_PT.sum(axis=1) for mask_PT in masks]),
        ids_AT=(_answer(chosen.ids_T, pair.chosen), _answer(rejected.ids_T, pair.rejected)),
        masks_AT=(_bits(masks[0], pair.chosen), _bits(masks[1], pair.rejected)),
    )
    return _ReadyPair(facts, (chosen, rejected))


def _answer(ids_T: npt.NDArray[np.int32], arm: AnswerTokens) -> npt.NDArray[np.int32]:
    return ids_T[arm.response_start :]


def _bits(mask_PT: npt.NDArray[np.bool_], arm: AnswerTokens) -> npt.NDArray[np.uint8]:
    """One number a token of the answer: bit p says whether it is under mask p."""
    places_P1 = np.left_shift(1, np.arange(len(mask_PT)), dtype=np.int64)[:, None]
    return (mask_PT[:, arm.response_start :] * places_P1).sum(axis=0).astype(np.uint8)


def _check_finite(arms: tuple[Pooled, Pooled], name: str, dtype: str) -> None:
    if not all(np.isfinite(arm.mean_PLD).all() and np.isfinite(arm.norm_L).all() for arm in arms):
        raise ModelError(
            f"the pair {name!r}: the residual stream overflows in {dtype} (NaN or infinity). "
            "Use --dtype bfloat16 or float32."
        )
