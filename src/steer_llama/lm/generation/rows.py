"""What is to be written, and what was."""

from collections.abc import Sequence
from dataclasses import dataclass

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import RowSteering
from steer_llama.lm.steering.spec import interventions

NO_LAYER = 2**31 - 1


@dataclass(frozen=True)
class Row:
    """One answer to write."""

    prompt_ids: tuple[int, ...]
    seed: int
    steering: RowSteering = None

    @property
    def prompt_is_plain(self) -> bool:
        """Whether the prompt's keys and values are an unsteered one's, so that others may have them."""
        return all(each.leaves_prompt_alone for each in interventions(self.steering))

    @property
    def first_layer(self) -> int:
        """The first layer at whose output something is done to the prompt, or looked at; past all where nothing is."""
        if self.prompt_is_plain:
            return NO_LAYER
        return min(each.layer if each.gate_layer is None else each.gate_layer for each in interventions(self.steering))


@dataclass(frozen=True)
class Generation:
    """One answer as it was written."""

    text: str
    tokens: int
    finish_reason: str
    """``stop``: the model ended it. ``length``: it was cut at the limit."""


def stop_tokens(model: LanguageModel) -> frozenset[int]:
    """The tokens that end an answer."""
    stops = model.hf.generation_config.eos_token_id
    stops = stops if isinstance(stops, list) else [stops]
    return frozenset(int(stop) for stop in [*stops, model.tokenizer.eos_token_id] if stop is not None)


def read_answer(model: LanguageModel, answer: Sequence[int], stops: frozenset[int]) -> Generation:
    """The text of an answer's tokens, up to the first that ends it."""
    end = next((position for position, token in enumerate(answer) if token in stops), None)
    kept = list(answer if end is None else answer[:end])
    # No tidying: " !" stays " !", or a model's own punctuation could not be measured.
    text = model.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    if end is None:
        text = text.rstrip("\N{REPLACEMENT CHARACTER}")  # half an emoji at the cut
    return Generation(text.strip(), len(kept), "length" if end is None else "stop")
