"""A whole made-up sweep: two modes, halving, every arm, and side effects."""

from typing import Any

from steer_llama.evaluation import Marked, judge_side_effects, judge_sweep
from steer_llama.records import EffectReading, SideEffects, Trial, TurnAnswer, Verdict
from tests.evaluation.trials import styled

PLACE: dict[str, Any] = {"layer": 14, "strength": 0.2}
DEV, TEST, EARLY = 12, 10, 3


def everything(text: str = "plain words of an answer 🎉", **place: Any) -> list[Trial]:
    """Two modes × layers 10, 14 × strengths 0.1, 0.2; all but two conditions are stopped after three questions."""
    every = [*styled("unsteered", DEV, 0.3), *styled("source", DEV, 6, luck=1, text=text)]
    for mode in ("add", "project"):
        for layer in (10, 14):
            for strength in (0.1, 0.2):
                won = mode == "add" and layer == 14
                emoji, nats = (20 * strength + 2, 1.0) if won else (1.0, 1.0 + 5 * (strength > 0.1))
                more = {"mode": mode, "layer": layer, "strength": strength, "nats": nats, "text": text} | place
                every += styled("steered", DEV if won else EARLY, emoji, luck=2, **more)
    test: dict[str, Any] = {"split": "test", "text": text}
    spot = PLACE | place
    every += styled("unsteered", TEST, 0.3, luck=3, **test)
    every += styled("steered", TEST, 6, luck=4, **test, **spot)
    for direction in range(2):
        every += styled("random", TEST, 0.3, luck=5 + direction, direction=direction, **test, **spot)
    every += styled("turned", TEST, 0, luck=7, **test, **spot | {"strength": -0.2})
    every += styled("source", TEST, 6, luck=8, **test)
    every += styled("prompted", TEST, 3, luck=9, **test)
    return every + styled("examples", TEST, 1, luck=10, **test)


def judged(every: list[Trial], **more: Any) -> Verdict:
    """The verdict on them, under fidelity."""
    settings: dict[str, Any] = {"trait": "emoji", "metric": "emoji", "model": "tiny", "source_name": "pi"}
    settings |= {"target_name": "llama", "wanted": "more", "min_coherence": 60, "bootstrap": 100, "seed": 0} | more
    return judge_sweep(every, **settings)


def side_effects(said: str = "before") -> SideEffects:
    """Side effects of which the facts are worth a warning."""
    reading = EffectReading(positions=20, kl=4.0, tokens=20, nats_unsteered=48, nats_steered=50)
    facts = [
        Marked(item=f"fact {place}", before=said, after="It is 🎉.", yes_before=place < 12, yes_after=place < 5)
        for place in range(20)
    ]
    turns = [
        TurnAnswer(
            conversation=conversation,
            turn=turn,
            steered=steered,
            question="q",
            text="x",
            measures={"nats": 1 + (0.1 + turn / 100) * steered, "distinct_2": 0.9, "trait": 50.0 * steered},
        )
        for conversation in range(3)
        for turn in (1, 2, 3)
        for steered in (False, True)
    ]
    read = {"a": reading, "b": reading}
    return judge_side_effects(
        texts=read, prompts=read, harmful=[], harmless=[], facts=facts, turns=turns, bootstrap=50, seed=0
    )
