"""The report's tables as plain cells, so that the page shows and copies the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from steer_llama.evaluation.shown.cells import Cell, Panel
from steer_llama.evaluation.shown.numerals import NONE, number, spread
from steer_llama.evaluation.shown.styles import StyleRow, feature_rows
from steer_llama.records import AntiSteered, Fidelity, TestArm, Verdict

_AGAINST = {
    "random": "random directions",
    "turned": "the vector turned round",
    "prompted": "a prompt",
    "examples": "a prompt with examples",
}
"""What steering is held against, in words."""


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    label: str
    cells: tuple[str, ...]
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose first column names the lines."""

    name: str
    """Unique in the page."""
    caption: str
    columns: tuple[str, ...]
    """With the first one's."""
    rows: tuple[Row, ...]


Column = tuple[str, Callable[[TestArm], str]]


def results_table(verdict: Verdict) -> Table:
    """The arms on the test questions: how near, how loud."""
    metric = verdict.metric.replace("_", " ")
    columns: list[Column] = [
        ("style gap closed, %", lambda arm: _closed(arm.fidelity)),
        ("style distance", lambda arm: spread(arm.fidelity.distance, digits=2) if arm.fidelity else NONE),
        (f"answers with {metric}, %", lambda arm: spread(arm.measured.share, 100)),
        ("trait score", lambda arm: spread(arm.measured.trait)),
        ("trait lift, points", lambda arm: spread(arm.lift_trait)),
        ("effect size d_z", lambda arm: spread(arm.effect, digits=2)),
    ]
    return _of_arms(verdict, "results", f"{verdict.trait}: the arms on test questions", columns)


def quality_table(verdict: Verdict) -> Table:
    """The arms on the test questions: what it costs."""
    columns: list[Column] = [
        ("answers", lambda arm: str(arm.measured.answers)),
        ("coherence", lambda arm: spread(arm.coherence_interval) if arm.coherence_interval else _coherence(arm)),
        ("judged coherence, % of the norm's", lambda arm: spread(arm.judged_interval)),
        ("judge's coherence score", lambda arm: number(arm.measured.judged_coherence, 0)),
        ("perplexity", lambda arm: number(arm.measured.perplexity, 1)),
        ("distinct\u20112", lambda arm: number(arm.measured.distinct_2, 2)),
        ("repetition, %", lambda arm: number(_percent(arm.measured.repetition), 1)),
        ("words", lambda arm: number(arm.measured.words, 0)),
        ("moved the wrong way, %", lambda arm: spread(arm.anti_steered.share, 100) if arm.anti_steered else NONE),
        ("tied, %", lambda arm: spread(arm.anti_steered.tied, 100) if arm.anti_steered else NONE),
    ]
    return _of_arms(verdict, "quality", f"{verdict.trait}: the quality of the arms' answers to test questions", columns)


def comparisons_table(verdict: Verdict) -> Table:
    """Steering against each other arm on the same questions."""
    rows = [
        (_AGAINST.get(each.against, each.against), (spread(each.closed, 100), spread(each.trait)))
        for each in verdict.comparisons
    ]
    columns = ("steered minus", "style gap closed, points", "trait score, points")
    caption = f"{verdict.trait}: steered minus the other arms, paired by question"
    return _without_empty(Table("comparisons", caption, columns, tuple(Row(label, cells) for label, cells in rows)))


def style_table(verdict: Verdict, rows: Sequence[StyleRow]) -> Table:
    """What fidelity is made of, of every arm."""
    arms = verdict.arms
    return Table(
        name="style",
        caption=f"{verdict.trait}: style profiles on test questions, marks per 100 tokens",
        columns=("feature", *(arm.label for arm in arms), "unit of the distance"),
        rows=tuple(
            Row(row.label, (*(spread(row.values.get(arm.arm)) for arm in arms), number(row.unit))) for row in rows
        ),
    )


def features_table(verdict: Verdict) -> Table:
    """Every measured feature."""
    rows = [Row(name, tuple(number(value, 2) for value in values)) for name, values in feature_rows(verdict)]
    columns = ("feature", *(arm.label for arm in verdict.arms))
    return Table("features", f"{verdict.trait}: all measured features, per 100 words", columns, tuple(rows))


def conditions_table(verdict: Verdict, panels: Sequence[Panel]) -> Table:
    """Everything that was tried on the dev questions."""
    metric = verdict.metric.replace("_", " ")
    columns = (
        *("condition", "vector", "mode", "tokens", "layer", "strength", "questions", "style gap closed, %"),
        *("style distance", f"answers with {metric}, %", "trait score", "wrong way, %", "tied, %", "coherence"),
        *("judge's coherence score", "repetition, %", "perplexity", "words", "outcome"),
    )
    cells = [cell for panel in panels for cell in panel.cells]
    rows = [_condition(number, cell) for number, cell in enumerate(cells, start=1)]
    unusual = {(cell.condition.vector, cell.condition.mode, cell.condition.where) for cell in cells}
    table = Table("conditions", f"{verdict.trait}: all conditions on dev questions", columns, tuple(rows))
    return _without_empty(table, drop=() if unusual - {("", "add", "all")} else ("mode", "tokens"))


def outcome(cell: Cell) -> str:
    """What became of a condition."""
    if cell.won:
        return "winner"
    said = ["too incoherent"] if cell.incoherent else []
    if cell.stopped:
        said.append(f"stopped after {cell.answered} of {cell.asked} questions")
    return ", ".join(said)


def _condition(place: int, cell: Cell) -> Row:
    condition, measured = cell.condition, cell.condition.measured
    wrong = condition.anti_steered
    return Row(
        str(place),
        (
            *(condition.vector or NONE, condition.mode, condition.where),
            *(str(condition.layer), f"{condition.strength:g}", f"{cell.answered} of {cell.asked}"),
            _closed(condition.fidelity),
            spread(condition.fidelity.distance, digits=2) if condition.fidelity else NONE,
            *(spread(measured.share, 100), spread(measured.trait)),
            *_wrong_way(wrong),
            *(number(measured.coherence, 0), number(measured.judged_coherence, 0)),
            *(number(_percent(measured.repetition), 1), number(measured.perplexity, 1), number(measured.words, 0)),
            outcome(cell) or "eligible",
        ),
        strong=cell.won,
    )


def _wrong_way(wrong: AntiSteered | None) -> tuple[str, str]:
    return (NONE, NONE) if wrong is None else (spread(wrong.share, 100), spread(wrong.tied, 100))


def _of_arms(verdict: Verdict, name: str, caption: str, columns: Sequence[Column]) -> Table:
    rows = [
        Row(arm.label, tuple(cell(arm) for _, cell in columns), strong=arm.arm == "steered") for arm in verdict.arms
    ]
    return _without_empty(Table(name, caption, ("answers of", *(label for label, _ in columns)), tuple(rows)))


def _without_empty(table: Table, drop: Sequence[str] = ()) -> Table:
    """Without the columns in which nothing was measured, and without those named."""
    kept = [
        place
        for place, column in enumerate(table.columns[1:])
        if column not in drop and any(row.cells[place] != NONE for row in table.rows)
    ]
    rows = tuple(Row(row.label, tuple(row.cells[place] for place in kept), row.strong) for row in table.rows)
    columns = (table.columns[0], *(table.columns[1 + place] for place in kept))
    return Table(table.name, table.caption, columns, rows)


def _closed(fidelity: Fidelity | None) -> str:
    return NONE if fidelity is None else spread(fidelity.closed, 100)


def _coherence(arm: TestArm) -> str:
    return number(arm.measured.coherence, 0)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
