"""The arms of the confirmation, measured on the test questions: each for itself, and steering against each."""

from collections.abc import Mapping, Sequence

from steer_llama.evaluation.anti_steered import anti_steered
from steer_llama.evaluation.coherence import coherence_interval, judged_interval, level_of, norm_of
from steer_llama.evaluation.fidelity import Draws, Yardstick, fidelity_on, mean_draws, profile_scale
from steer_llama.evaluation.intervals import paired_difference_interval, paired_effect_interval
from steer_llama.evaluation.measured import by_question, measure, shown_in, trait_of
from steer_llama.evaluation.wanted import Wanted
from steer_llama.records import Arm, Comparison, Condition, Fidelity, Interval, TestArm, Trial

ARMS: tuple[Arm, ...] = ("unsteered", "steered", "random", "turned", "source", "prompted", "examples")
"""In the order in which they are shown."""

COMPARED: tuple[Arm, ...] = ("random", "turned", "prompted", "examples")
"""What steering is held against."""

_AT_THE_SPOT = {"steered", "random", "turned"}


class Arms:
    """The test trials by arm, with one set of resamplings for all of them."""

    def __init__(
        self, trials: Sequence[Trial], winner: Condition | None, *, wanted: Wanted, resamples: int, seed: int
    ) -> None:
        """Of ``trials`` those of test questions; of what is steered only what was steered where ``winner`` is."""
        self.answers = _test_answers(trials, winner)
        self._wanted: Wanted = wanted
        self._resamples = resamples
        self._seed = seed
        plain, source = self.answers["unsteered"], self.answers["source"]
        self._yardstick = (
            Yardstick(source, plain, profile_scale(source, plain), resamples=resamples, seed=seed)
            if plain and source
            else None
        )

    def measured(self, source_name: str, target_name: str) -> tuple[TestArm, ...]:
        """Every arm that has answers."""
        labels = _labels(source_name, target_name, self.answers)
        return tuple(self._arm(arm, labels[arm]) for arm in ARMS if self.answers[arm])

    def comparisons(self) -> tuple[Comparison, ...]:
        """The steered answers against every other arm that has answers."""
        if not self.answers["steered"]:
            return ()
        return tuple(
            Comparison(against=arm, trait=self._trait("steered", arm), closed=self._closed_over(arm))
            for arm in COMPARED
            if self.answers[arm]
        )

    def _arm(self, arm: Arm, label: str) -> TestArm:
        plain, source, own = self.answers["unsteered"], self.answers["source"], self.answers[arm]
        if not plain:
            # Without the unsteered there is no norm, and "as coherent as itself" would say nothing.
            measured = measure(own, norm=level_of(own), resamples=self._resamples, seed=self._seed)
            return TestArm(arm=arm, label=label, measured=measured.model_copy(update={"coherence": None}))
        drawn = {"resamples": self._resamples, "seed": self._seed}
        measured = measure(own, norm=norm_of(plain, source), **drawn)
        if arm == "unsteered":
            return TestArm(arm=arm, label=label, measured=measured, fidelity=self._fidelity(arm))
        share = paired_difference_interval(by_question(own, shown_in), by_question(plain, shown_in), **drawn)
        effect = paired_effect_interval(by_question(own, trait_of), by_question(plain, trait_of), **drawn)
        return TestArm(
            arm=arm,
            label=label,
            measured=measured,
            lift_share=share if share.n else None,
            lift_trait=self._trait(arm, "unsteered"),
            effect=effect if effect.n else None,
            fidelity=self._fidelity(arm),
            # The source is not the target moved: its answers have no sample of the target's to be held against.
            anti_steered=None if arm == "source" else anti_steered(own, plain, wanted=self._wanted, **drawn),
            coherence_interval=coherence_interval(own, plain, source, **drawn),
            judged_interval=judged_interval(own, plain, source, **drawn),
        )

    def _trait(self, first: Arm, second: Arm) -> Interval | None:
        """Trait score of the first minus the second's, paired; ``None`` where they share no scored question."""
        one, other = (by_question(self.answers[arm], trait_of) for arm in (first, second))
        interval = paired_difference_interval(one, other, resamples=self._resamples, seed=self._seed)
        return interval if interval.n else None

    def _fidelity(self, arm: Arm) -> Fidelity | None:
        if self._yardstick is None or arm == "source":
            return None
        if arm != "random":
            return fidelity_on(self._yardstick, self.answers[arm])
        return Fidelity(distance=self._distance(arm).interval(), closed=self._closed(arm).interval())

    def _closed_over(self, arm: Arm) -> Interval | None:
        if self._yardstick is None:
            return None
        interval = (self._closed("steered") - self._closed(arm)).interval()
        return interval if interval.n else None

    def _closed(self, arm: Arm) -> Draws:
        assert self._yardstick is not None
        return self._yardstick.closed(self._distance(arm))

    def _distance(self, arm: Arm) -> Draws:
        """Of the random directions the mean of each one's: together they would be a mixture, which no direction is."""
        assert self._yardstick is not None
        by_direction: dict[int | None, list[Trial]] = {}
        for trial in self.answers[arm]:
            by_direction.setdefault(trial.direction if arm == "random" else None, []).append(trial)
        return mean_draws([self._yardstick.distance(answers) for answers in by_direction.values()])


def _test_answers(trials: Sequence[Trial], winner: Condition | None) -> dict[Arm, list[Trial]]:
    """The test trials of each arm; what is steered only at the winner's spot, the sign of the strength apart."""
    answers: dict[Arm, list[Trial]] = {arm: [] for arm in ARMS}
    place = None if winner is None else winner.spot._replace(strength=abs(winner.strength))
    for trial in trials:
        if trial.split != "test":
            continue
        if trial.arm in _AT_THE_SPOT:
            spot = trial.spot
            if place is None or (spot is not None and spot._replace(strength=abs(spot.strength)) != place):
                continue
            if trial.arm == "steered" and spot is not None and winner is not None and spot != winner.spot:
                continue
        answers[trial.arm].append(trial)
    return answers


def _labels(source_name: str, target_name: str, answers: Mapping[Arm, Sequence[Trial]]) -> dict[Arm, str]:
    directions = len({trial.direction for trial in answers["random"]})
    return {
        "unsteered": f"{target_name}, unsteered",
        "steered": f"{target_name}, steered",
        "random": f"{target_name}, {directions} random direction{'s' * (directions != 1)}",
        "turned": f"{target_name}, the vector turned round",
        "source": f"{source_name} (source)",
        "prompted": f"{target_name}, prompted",
        "examples": f"{target_name}, given examples",
    }
