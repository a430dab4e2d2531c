"""The sweep's conditions, in panels that lay out layers × strengths without two conditions in one cell."""

from collections.abc import Sequence
from dataclasses import dataclass

from steer_llama.records import Condition, Spot, Trial, Verdict


@dataclass(frozen=True)
class Cell:
    """One condition with what the report says about it."""

    condition: Condition
    answered: int
    """Dev questions that it answered."""
    asked: int
    """Dev questions that there were."""
    incoherent: bool
    """Whether it is known to be too incoherent to win."""
    won: bool
    quote: str | None
    """Its answer to the first dev question that it answered."""

    @property
    def stopped(self) -> bool:
        """Whether it was stopped before it had answered every question (successive halving)."""
        return self.answered < self.asked


@dataclass(frozen=True)
class Panel:
    """The conditions that share a vector, a mode and tokens: they differ in layer and strength alone."""

    name: str
    """Empty where there is only one panel and nothing unusual about it."""
    cells: tuple[Cell, ...]

    @property
    def layers(self) -> list[int]:
        """From the first to the last."""
        return sorted({cell.condition.layer for cell in self.cells})

    @property
    def strengths(self) -> list[float]:
        """From the weakest on."""
        return sorted({cell.condition.strength for cell in self.cells})


def panels(verdict: Verdict, trials: Sequence[Trial]) -> tuple[Panel, ...]:
    """All conditions, each in exactly one cell of one panel, in the order of their spots."""
    questions, quotes = _answered(trials)
    answered = {
        condition.spot: len(questions.get(condition.spot, ())) or condition.measured.trait.n
        for condition in verdict.conditions
    }
    asked = max(answered.values(), default=0)
    grouped: dict[tuple[str, str, str], list[Cell]] = {}
    for condition in sorted(verdict.conditions, key=lambda each: each.spot):
        spot, coherence = condition.spot, condition.measured.coherence
        whole = answered[spot] >= asked
        cell = Cell(
            condition=condition,
            answered=answered[spot],
            asked=asked,
            # What was stopped cannot win anyway; of what was not, only incoherence makes it ineligible.
            incoherent=not condition.eligible and (whole or coherence is None or coherence < verdict.min_coherence),
            won=verdict.winner is not None and spot == verdict.winner.spot,
            quote=quotes.get(spot),
        )
        grouped.setdefault((spot.vector, spot.mode, spot.where), []).append(cell)
    named = len(grouped) > 1
    return tuple(Panel(panel_name(cells[0].condition.spot, always=named), tuple(cells)) for cells in grouped.values())


def panel_name(spot: Spot, *, always: bool = True) -> str:
    """What is done with which vector and where; empty for the usual, unless it is to be told from something else."""
    unusual = (spot.vector, spot.mode, spot.where) != ("", "add", "all")
    if not always and not unusual:
        return ""
    parts = [spot.vector, spot.mode, f"{spot.where} tokens"]
    return ", ".join(part for part in parts if part)


def stopped(panels: Sequence[Panel]) -> list[Cell]:
    """The conditions that were stopped early."""
    return [cell for panel in panels for cell in panel.cells if cell.stopped]


def _answered(trials: Sequence[Trial]) -> tuple[dict[Spot, set[str]], dict[Spot, str]]:
    """The dev questions that each condition answered, and its first answer."""
    questions: dict[Spot, set[str]] = {}
    quotes: dict[Spot, str] = {}
    for trial in trials:
        if trial.split == "dev" and trial.arm == "steered" and trial.spot is not None:
            questions.setdefault(trial.spot, set()).add(trial.question)
            quotes.setdefault(trial.spot, trial.text)
    return questions, quotes
