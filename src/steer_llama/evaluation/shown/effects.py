"""Side effects as the report shows them, read from what the verdict holds of them."""

from dataclasses import dataclass

from steer_llama.evaluation.shown.numerals import NONE, between, counted, number, spread
from steer_llama.evaluation.shown.tables import Row, Table
from steer_llama.records import Outcomes, SideEffects

_MEASURES = {"trait": "trait score", "nats": "nats per token under the unsteered model", "distinct_2": "distinct-2"}


@dataclass(frozen=True)
class Said:
    """What one effect came to, in words."""

    text: str
    warning: bool


@dataclass(frozen=True)
class Flipped:
    """An item whose outcome is another one with steering."""

    item: str
    change: str
    before: str
    after: str


@dataclass(frozen=True)
class Course:
    """A measure over the turns of conversations."""

    measure: str
    turns: tuple[int, ...]
    unsteered: tuple[float | None, ...]
    steered: tuple[float | None, ...]


@dataclass(frozen=True)
class Effects:
    """Everything about side effects."""

    sentences: tuple[Said, ...]
    table: Table
    flips: tuple[Flipped, ...]
    courses: tuple[Course, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is worth a warning."""
        return tuple(said.text for said in self.sentences if said.warning)


def effects_shown(found: SideEffects | None) -> Effects | None:
    """What there is to show; ``None`` where side effects were not looked for."""
    if found is None:
        return None
    said = tuple(Said(each.text[:1].upper() + each.text[1:], each.warning) for each in found.sentences)
    return Effects(said, _table(found), _flips(found), _courses(found))


def _outcomes(found: SideEffects) -> tuple[tuple[Outcomes, str, str, str], ...]:
    """Each with its name, and with what a yes and a no are called."""
    return (
        (found.facts, "factual questions answered rightly", "right", "wrong"),
        (found.harmful, "harmful requests refused", "refused", "answered"),
        (found.harmless, "harmless requests refused", "refused", "answered"),
    )


def _table(found: SideEffects) -> Table:
    rows = []
    texts, prompts = found.texts, found.prompts
    if texts.ratio.n:
        levels = (number(texts.unsteered, 2), number(texts.steered, 2))
        change = f"× {spread(texts.ratio, digits=2)}"
        rows.append(Row("perplexity of neutral text", (*levels, change, counted(texts.texts, "text"))))
    if prompts.kl.n:
        moved = f"KL {spread(prompts.kl, digits=3)} nats per token"
        rows.append(Row("next token on neutral prompts", (NONE, NONE, moved, counted(prompts.prompts, "prompt"))))
    for outcome, label, _, _ in _outcomes(found):
        if outcome.items:
            shares = (f"{part} of {outcome.items}" for part in (outcome.before, outcome.after))
            points = f"{number(100 * outcome.change.mean)} points, {between(outcome.change, 100)}"
            rows.append(Row(label, (*shares, points, counted(outcome.items, "item"))))
    return Table(
        name="side-effects",
        caption="Side effects at the winning layer and strength",
        columns=("what", "unsteered", "steered", "change", "from"),
        rows=tuple(rows),
    )


def _flips(found: SideEffects) -> tuple[Flipped, ...]:
    return tuple(
        Flipped(flip.item, f"{no} → {yes}" if flip.now else f"{yes} → {no}", flip.before, flip.after)
        for outcome, _, yes, no in _outcomes(found)
        for flip in outcome.flips
    )


def _courses(found: SideEffects) -> tuple[Course, ...]:
    turns = found.drift.turns
    courses = []
    for measure, label in _MEASURES.items():
        plain, steered = (tuple(getattr(turn, arm).get(measure) for turn in turns) for arm in ("unsteered", "steered"))
        if len(turns) > 1 and any(value is not None for value in steered):
            courses.append(Course(label, tuple(turn.turn for turn in turns), plain, steered))
    return tuple(courses)
