"""What a sweep tries: conditions on dev questions, and the arms of the confirmation on test questions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from steer_llama.config import SweepSettings
from steer_llama.records import Condition, Demonstration, Elicitation, Response, Split, SplitName, Spot, Turn
from steer_llama.stages.trials import Job, Setup


def default_layers(layers: Sequence[int]) -> tuple[int, ...]:
    """Five layers from a quarter to three quarters of the depth: before, a style has not formed; after, it is spent."""
    picks = np.linspace(0.25, 0.75, 5) * (len(layers) - 1)
    return tuple(dict.fromkeys(layers[round(pick)] for pick in picks))


def spots_of(layers: Mapping[str, Sequence[int]], settings: SweepSettings) -> tuple[Spot, ...]:
    """All conditions: every vector (with its layers) × mode × where × layer × strength, in order."""
    return tuple(
        Spot(name, mode, where, layer, strength)
        for name, chosen in layers.items()
        for mode in settings.modes
        for where in settings.where
        for layer in chosen
        for strength in settings.strengths
    )


def dev_questions(split: Split, settings: SweepSettings) -> tuple[str, ...]:
    """The questions that choose."""
    return split.dev[: settings.questions]


def held_out(split: Split) -> dict[str, SplitName]:
    """Which questions are not extraction's, and what they serve."""
    parts: dict[str, SplitName] = dict.fromkeys(split.dev, "dev")
    return parts | dict.fromkeys(split.test, "test")


def unsteered_jobs(questions: Sequence[str]) -> list[Job]:
    """The unsteered target on dev questions."""
    return [Job(Setup("unsteered"), "dev", question) for question in questions]


def steered_jobs(pairs: Iterable[tuple[Spot, str]]) -> list[Job]:
    """Conditions on dev questions."""
    return [Job(Setup("steered", spot), "dev", question) for spot, question in pairs]


def test_jobs(
    split: Split, winner: Condition | None, prompts: Mapping[str, Demonstration], settings: SweepSettings
) -> list[Job]:
    """The winner and everything that it has to beat, on test questions.

    Args:
        split: its test questions are asked.
        winner: of the dev questions.
        prompts: what the target is given in the arms ``prompted`` and ``examples``.
        settings: how many random directions and samples.
    """
    return [
        Job(setup, "test", text, sample)
        for setup in _test_setups(winner, prompts, settings)
        for text in split.test
        for sample in range(settings.test_samples)
    ]


def _test_setups(
    winner: Condition | None, prompts: Mapping[str, Demonstration], settings: SweepSettings
) -> Iterator[Setup]:
    yield Setup("unsteered")
    if winner is not None:
        yield Setup("steered", winner.spot)
        for number in range(settings.random_directions):
            yield Setup("random", winner.spot, settings.seed + number)
        yield Setup("turned", winner.spot._replace(strength=-winner.strength))
    if "prompted" in prompts:
        yield Setup("prompted", prompt=prompts["prompted"])
    if "examples" in prompts:
        yield Setup("examples", prompt=prompts["examples"])


def rival_prompts(
    own: Demonstration,
    source: Demonstration | None,
    elicitation: Elicitation,
    answers: Sequence[Response],
    split: Split,
    *,
    wanted: str,
    examples: int,
) -> dict[str, Demonstration]:
    """What a prompt has to say against steering, by arm.

    ``prompted``: the source's own prompt; where there is none, the elicitation's first instruction that brings the
    trait out (or keeps it away). ``examples``: the target's own prompt, then the source's answers to extract questions.

    Args:
        own: the target's prompt.
        source: the source's.
        elicitation: its instructions.
        answers: the source's.
        split: whose extract questions may be shown.
        wanted: ``more`` or ``less`` of the trait.
        examples: how many answers are shown; 0 leaves the arm out.
    """
    prompts: dict[str, Demonstration] = {}
    if source is not None and (source.system_prompt or source.examples):
        prompts["prompted"] = source
    elif elicitation.instruction:
        pair = elicitation.instruction[0]
        instruction = pair.pos if wanted == "more" else pair.neg
        system_prompt = "\n\n".join(filter(None, (own.system_prompt, instruction)))
        prompts["prompted"] = Demonstration(system_prompt=system_prompt, examples=own.examples)
    shown = [answer for answer in answers if answer.role == "source" and answer.question in split.extract]
    shown = [answer for answer in shown if answer.text.strip()]
    # Whole answers first: those that were cut would teach to stop in mid-sentence.
    shown.sort(key=lambda answer: answer.finish_reason == "length")
    turns = tuple(Turn(user=answer.question, assistant=answer.text) for answer in shown[:examples])
    if turns:
        prompts["examples"] = Demonstration(system_prompt=own.system_prompt, examples=(*own.examples, *turns))
    return prompts
