"""What a judgement came to, in a few lines."""

import statistics
from collections.abc import Sequence

from steer_llama.chat.judging import Score
from steer_llama.evaluation import correlation
from steer_llama.pairs import Arms
from steer_llama.records import Result
from steer_llama.style import Metric


def summary(results: Sequence[Result], name: str, arms: Arms) -> str:
    """The judgement in a line: the arms' mean scores, and how many could not be scored."""
    source = _mean(arms.source, [result.source_score for result in results])
    target = _mean(arms.target, [result.target_score for result in results])
    return f"mean {name} score over {len(results)} questions: {source}, {target}"


def judged_by(results: Sequence[Result], scores: Sequence[Score], arms: Arms) -> list[str]:
    """What else a model's judgement says: coherence, repeats, and the probability on numbers."""
    lines: list[str] = []
    coherences = [[r.source_coherence for r in results], [r.target_coherence for r in results]]
    if any(value is not None for values in coherences for value in values):
        source, target = (_mean(name, values) for name, values in zip(arms, coherences, strict=True))
        lines.append(f"mean coherence: {source}, {target}")
    if any(score.judgements > 1 for score in scores):
        judgements, scored = sum(score.judgements for score in scores), sum(score.scored for score in scores)
        spreads = [score.spread for score in scores if score.spread is not None]
        spread = f"; their spread is {statistics.fmean(spreads):.1f} points on average" if spreads else ""
        lines.append(f"{scored} of {judgements} judgements have a score{spread}")
    if masses := [score.mass for score in scores if score.mass is not None]:
        lines.append(
            f"probability on numbers 0–100: {statistics.fmean(masses):.2f} on average, {min(masses):.2f} at the least"
        )
    return lines


def beside_the_metric(results: Sequence[Result], metric: Metric) -> str:
    """How the judge's scores go with the measured feature over the answers that both score."""
    judged = [(r.source_response, r.source_score) for r in results]
    judged += [(r.target_response, r.target_score) for r in results]
    both = [
        (score, counted) for text, score in judged if score is not None and (counted := metric.score(text)) is not None
    ]
    found = correlation([score for score, _ in both], [counted for _, counted in both])
    if found is None:
        return f"the judge and the measured feature {metric.name!r}: no correlation ({len(both)} answers, or all alike)"
    return f"the judge and the measured feature {metric.name!r} correlate with r = {found:.2f} over {len(both)} answers"


def _mean(name: str, scores: Sequence[float | None]) -> str:
    known = [score for score in scores if score is not None]
    unscored = f" ({len(scores) - len(known)} unscored)" if len(known) < len(scores) else ""
    return f"{name} {sum(known) / len(known):.1f}{unscored}" if known else f"{name} unscored{unscored}"
