"""What a sweep tries: conditions on dev questions, and the arms of the confirmation on test questions."""

from collections.abc import Sequence

import numpy as np

from steer_llama.config import SweepSettings
from steer_llama.records import Condition, Demonstration, Split
from steer_llama.stages.trials import Job, Setup


def default_layers(layers: Sequence[int]) -> tuple[int, ...]:
    """Five layers from a quarter to three quarters of the depth: before, a style has not formed; after, it is spent."""
    picks = np.linspace(0.25, 0.75, 5) * (len(layers) - 1)
    return tuple(dict.fromkeys(layers[round(pick)] for pick in picks))


def dev_jobs(split: Split, layers: Sequence[int], settings: SweepSettings) -> list[Job]:
    """The unsteered target and every layer × strength, on dev questions."""
    setups = [
        Setup("unsteered"),
        *(Setup("steered", layer, strength) for layer in layers for strength in settings.strengths),
    ]
    return [Job(setup, "dev", question) for setup in setups for question in split.dev[: settings.questions]]


def test_jobs(
    split: Split, winner: Condition | None, source_prompt: Demonstration | None, settings: SweepSettings
) -> list[Job]:
    """The winner and everything that it has to beat, on test questions."""
    setups = [Setup("unsteered")]
    if winner is not None:
        setups.append(Setup("steered", winner.layer, winner.strength))
        setups += [
            Setup("random", winner.layer, winner.strength, settings.seed + number)
            for number in range(settings.random_directions)
        ]
    if source_prompt is not None:
        setups.append(Setup("prompted", prompt=source_prompt))
    return [
        Job(setup, "test", text, sample)
        for setup in setups
        for text in split.test
        for sample in range(settings.test_samples)
    ]
