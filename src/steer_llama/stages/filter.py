"""``filter``: keeps the pairs whose scores differ enough, in one direction, as ``filtered.json``."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from steer_llama.config import Config, FilterSettings
from steer_llama.errors import FileError
from steer_llama.pairs import read_results, write_filtered, write_results
from steer_llama.progress import Reporter
from steer_llama.records import Result
from steer_llama.rundir import FILTERED, RESULTS, RunDir
from steer_llama.stages.stage import Stage

Direction = Literal["source", "target", "both"]


@dataclass(frozen=True)
class Filtered:
    """What the filter decided."""

    results: list[Result]
    """All of them, each with ``kept`` and, where it was dropped, the reason."""
    kept: list[Result]
    dropped: dict[str, int]
    """Pairs by reason, most frequent first."""
    direction: Direction
    """Which arm scores higher in the pairs that were kept."""
    direction_reason: str


def filter_results(results: Sequence[Result], settings: FilterSettings) -> Filtered:
    """Keep the pairs whose scores differ by more than the threshold in the wanted direction.

    Only questions to extract from (or without a split) are candidates, so that dev and test stay unseen.

    Raises:
        FileError: no pair is kept; the text says how the differences are distributed.
    """
    candidates = [result for result in results if _barred(result) is None]
    over = [result for result in candidates if abs(_points(result)) > settings.threshold]
    direction, direction_reason = _direction(over, settings)
    reasons = {result.question: _reason(result, settings.threshold, direction) for result in results}
    decided = [
        result.model_copy(update={"kept": reasons[result.question] is None, "reason": reasons[result.question]})
        for result in results
    ]
    kept = [result for result in decided if result.kept]
    dropped = _counted(reasons.values())
    if not kept:
        raise FileError(_nothing(results, candidates, over, dropped, settings))
    return Filtered(decided, kept, dropped, direction, direction_reason)


def run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    """Write ``filtered.json``, and into ``results.json`` what became of each pair. Raises as `filter_results`."""
    path = rundir.path(RESULTS)
    source, target = config.source.name, config.target.name
    filtered = filter_results(read_results(path, source, target).results, config.filter)
    write_filtered(rundir.path(FILTERED), filtered.kept, source, target)
    write_results(path, filtered.results, source, target)
    reporter.note(f"kept {len(filtered.kept)} of {len(filtered.results)} pairs; {filtered.direction_reason}")
    for reason, count in filtered.dropped.items():
        reporter.note(f"dropped {count}: {reason}")


def _points(result: Result) -> float:
    """Source minus target, of a result that has a difference."""
    if result.score_difference is None:
        raise AssertionError(f"{result.question!r} is unscored and no candidate")
    return result.score_difference


def _barred(result: Result) -> str | None:
    """Why a result is no candidate, whatever its difference."""
    if result.score_difference is None:
        return result.reason if result.reason and result.reason.startswith("unscored") else "unscored"
    if not result.source_response.strip() or not result.target_response.strip():
        return "an answer is empty"
    if result.split in {"dev", "test"}:
        return f"held out for {result.split}"
    return None


def _reason(result: Result, threshold: float, direction: Direction) -> str | None:
    """Why a result is dropped; ``None`` when it is kept."""
    barred = _barred(result)
    if barred is not None:
        return barred
    if not abs(_points(result)) > threshold:
        return f"the scores do not differ by more than {threshold:g}"
    higher = "source" if _points(result) > 0 else "target"
    return None if direction in {higher, "both"} else f"the {higher} scores higher"


def _counted(reasons: Iterable[str | None]) -> dict[str, int]:
    """How many pairs each reason has dropped; a judge gives many reasons for no score, which count as one."""
    kinds: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for reason in reasons:
        if reason is not None:
            kind = "unscored" if reason.startswith("unscored") else reason
            kinds[kind] += 1
            examples.setdefault(kind, reason)
    return {
        examples[kind] if count == 1 or kind == examples[kind] else f"{kind}, e.g. {examples[kind]}": count
        for kind, count in kinds.most_common()
    }


def _direction(over: Sequence[Result], settings: FilterSettings) -> tuple[Direction, str]:
    source = sum(_points(result) > 0 for result in over)
    target = len(over) - source
    if settings.direction != "majority":
        return settings.direction, f"direction {settings.direction!r}, as asked"
    counts = f"source {source}, target {target} of the {len(over)} pairs over the threshold"
    if target > source:
        return "target", f"the target scores higher more often ({counts})"
    if target == source:
        return "source", f"a tie, which goes to the source ({counts})"
    return "source", f"the source scores higher more often ({counts})"


def _nothing(
    results: Sequence[Result],
    candidates: Sequence[Result],
    over: Sequence[Result],
    dropped: dict[str, int],
    settings: FilterSettings,
) -> str:
    counts = ", ".join(f"{count} × {reason}" for reason, count in dropped.items())
    text = f"no pair of {len(results)} is kept ({counts})."
    if not candidates:
        return f"{text} None is scored and free to extract from: judge again, or ask more questions."
    differences = sorted((_points(result) for result in candidates), key=abs, reverse=True)
    middle = abs(differences[len(differences) // 2])
    text += (
        f" Of {len(candidates)} candidates {len(over)} differ by more than {settings.threshold:g} points; "
        f"the largest difference (source − target) is {differences[0]:+.1f}, the middle one {middle:.1f}."
    )
    if over:
        return f"{text} All of these point the other way: set the direction to 'majority' or 'both'."
    return (
        f"{text} Lower the threshold (filter.threshold, --threshold) if the arms really differ, "
        "ask more questions, or choose a trait or arms that differ more."
    )


def _settings(config: Config) -> object:
    arms = {"source": config.source.name, "target": config.target.name}
    return {**config.filter.model_dump(mode="json"), **arms}


STAGE = Stage(name="filter", reads=(), writes=(FILTERED,), amends=(RESULTS,), settings=_settings, run=run)
