"""Continuous batching: finished answers leave the batch, waiting ones enter, and no step waits for the longest.

Yu et al. (2022), Orca; the sharing of prompts is by whole blocks, as in vLLM's prefix cache (Kwon et al., 2309.06180),
but never from a steered prompt.

Shapes: R rows of a pass, N answers, D width, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from steer_llama.config import Sampling
from steer_llama.lm.decoder import Decoder
from steer_llama.lm.generation.rows import Generation, Row, read_answer, stop_tokens
from steer_llama.lm.generation.sampling import Sampler, generator_of
from steer_llama.lm.generation.slots import Slots
from steer_llama.lm.generation.step import BLOCK, Prompt, Step
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Places, Plan
from steer_llama.lm.tokens import divergence_index

PROMPT_TOKENS = 4096
"""New prompts' tokens that one pass takes in at most (and one prompt at least), which bounds its memory."""


@dataclass(eq=False)
class _Answer:
    """One that is being written; its slot is its place in the list."""

    index: int
    row: Row
    generator: np.random.Generator
    written: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens whose keys and values the slot holds."""
        return len(self.row.prompt_ids) + len(self.written) - 1


def write_continuously(
    model: LanguageModel, decoder: Decoder, rows: Sequence[Row], sampling: Sampling, batch_size: int
) -> Iterator[list[tuple[int, Generation]]]:
    """Write an answer for every row; yields (index, answer) of those that are finished, as they are.

    Raises:
        SteeringInactiveError: a layer that was to be steered was not.
    """
    # The longest first, so that the last ones to be begun are short; equal prompts together, so that one can give.
    order = sorted(range(len(rows)), key=lambda index: (-len(rows[index].prompt_ids), rows[index].prompt_ids))
    waiting = list(reversed(order))
    batch = _Batch(model, decoder, sampling, batch_size)
    while waiting or batch.answers:
        new: list[tuple[int, Row]] = []
        while waiting and batch.has_room(new, rows[waiting[-1]]):
            new.append((index := waiting.pop(), rows[index]))
        if finished := batch.step(new):
            yield finished


@dataclass(frozen=True)
class _Entering:
    """A row that enters with the next step."""

    index: int
    row: Row
    joins: int | None
    """The layer up to which the one that leads is computed for it too."""
    leads: bool
    """Whether the others with its prompt join it."""


def _in_order(new: Sequence[tuple[int, Row]], rows_may_join: bool) -> list[_Entering]:
    """Those that are computed whole, then those that join them, by the layer from which on they differ."""
    leading: dict[tuple[int, ...], int] = {}
    layer_of = {index: row.first_layer for index, row in new}
    for index, row in new:
        other = leading.get(row.prompt_ids)
        if other is None or layer_of[index] > layer_of[other]:
            leading[row.prompt_ids] = index
    entering = []
    for index, row in new:
        leads = leading[row.prompt_ids] == index
        whole = leads or row.prompt_is_plain or not rows_may_join
        entering.append(_Entering(index, row, None if whole else row.first_layer, leads))
    return sorted(entering, key=lambda each: -1 if each.joins is None else each.joins)


class _Batch:
    """The answers that are being written."""

    def __init__(self, model: LanguageModel, decoder: Decoder, sampling: Sampling, size: int) -> None:
        self.answers: list[_Answer] = []
        self._model, self._decoder, self._size = model, decoder, size
        self._limit = sampling.max_tokens
        self._sampler, self._stops = Sampler(sampling), stop_tokens(model)
        self._slots = Slots(size)
        self._plain: list[tuple[int, ...]] = [()] * size
        """What stands in front in each slot and was not steered; also in those whose answer has left."""
        self._plan: Plan | None = None

    def has_room(self, new: Sequence[tuple[int, Row]], row: Row) -> bool:
        """Whether ``row`` can enter with the next step, beside the ``new`` ones."""
        if len(self.answers) + len(new) >= self._size:
            return False
        tokens = sum(len(other.prompt_ids) for _, other in new)
        return not new or tokens + len(row.prompt_ids) <= PROMPT_TOKENS

    def step(self, new: Sequence[tuple[int, Row]]) -> list[tuple[int, Generation]]:
        """Write one token of every answer, the first one of the ``new`` ones; the answers that this finished."""
        with torch.inference_mode():
            self._write(new)
            return self._taken_out()

    def _write(self, new: Sequence[tuple[int, Row]]) -> None:
        entering = _in_order(new, self._decoder.rows_may_join)
        prompts = self._prompts(entering)
        tokens, lengths = [a.written[-1] for a in self.answers], [a.length for a in self.answers]
        step = Step(self._slots, tokens, lengths, prompts, self._decoder.min_rows)
        self.answers += [_Answer(each.index, each.row, generator_of(each.row.seed)) for each in entering]
        if new or self._plan is None:
            self._plan = Plan(self._model, [answer.row.steering for answer in self.answers])
        plan, places = self._plan, self._places(step)
        normed_RD = self._decoder.normed(
            step.ids_R,
            step.positions_R,
            step,
            plan.layers,
            lambda layer, hidden_RD: plan.edit(layer, step.joined(layer, hidden_RD), places),
        )
        plan.check_passed()
        logits_NV = self._decoder.project(normed_RD[torch.tensor(step.last_R, device=normed_RD.device)])
        chosen = self._sampler.choose(
            logits_NV, [answer.written for answer in self.answers], [answer.generator for answer in self.answers]
        )
        for answer, token in zip(self.answers, chosen, strict=True):
            answer.written.append(token)

    def _places(self, step: Step) -> Places:
        """Where the pass's tokens stand in their conversations."""
        after_R = step.after_prompt_R.clone()
        for place, answer in enumerate(self.answers):
            if answer.written:
                after_R[place] = len(answer.written) - 1
        return Places(step.row_R, after_R).on(self._model.device)

    def _prompts(self, entering: Sequence[_Entering]) -> list[Prompt]:
        """The new rows in their slots, each with the longest beginning that it can take over."""
        first = len(self.answers)
        # Whoever is not joining computes its prompt; of several equal ones, that is one whose prompt is plain longest.
        computed = {each.row.prompt_ids: first + place for place, each in enumerate(entering) if each.leads}
        joined = {each.row.prompt_ids for each in entering if each.joins is not None}
        prompts = []
        for slot, each in enumerate(entering, start=first):
            row = each.row
            # Those that join need all of the prompt's rows.
            alone = row.prompt_is_plain and row.prompt_ids not in joined
            start, donor = self._taken_over(row) if alone else (0, slot)
            mate = computed.get(row.prompt_ids, slot)
            prompts.append(Prompt(slot, row.prompt_ids, start, donor, each.joins, mate))
            self._plain[slot] = row.prompt_ids if row.prompt_is_plain else ()
        return prompts

    def _taken_over(self, row: Row) -> tuple[int, int]:
        """How many tokens, and the slot that has them."""
        # The last token is always computed, as its output begins the answer.
        most = len(row.prompt_ids) - 1
        shared = [min(divergence_index(row.prompt_ids, held), most) // BLOCK * BLOCK for held in self._plain]
        donor = max(range(len(shared)), key=shared.__getitem__)
        return shared[donor], donor

    def _taken_out(self) -> list[tuple[int, Generation]]:
        """Take the finished answers out; the last ones move into their slots."""
        finished = []
        for slot in reversed(range(len(self.answers))):
            answer = self.answers[slot]
            if answer.written[-1] not in self._stops and len(answer.written) < self._limit:
                continue
            finished.append((answer.index, read_answer(self._model, answer.written, self._stops)))
            last = self.answers.pop()
            if last is not answer:
                self._slots.move(len(self.answers), slot, last.length)
                self._plain[slot] = self._plain[len(self.answers)]
                self.answers[slot] = last
            self._plan = None
        return finished
