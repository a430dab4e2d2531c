"""``tune``: the strengths of several vectors together, nearest to the source's whole style profile.

The dev questions choose; the test questions are answered once, by the combination and by what it has to beat.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from steer_llama.chat import Journal
from steer_llama.config import ModelSettings, Sampling, TuneSettings
from steer_llama.errors import ConfigError, VectorError
from steer_llama.evaluation.interference import cosines_of, interference
from steer_llama.evaluation.tuned import confirm, sentence
from steer_llama.evaluation.tuning import Point, best_alone
from steer_llama.files import check_not_over, check_output, digest_file, write_json
from steer_llama.lm.layers import check_layers
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.progress import Reporter
from steer_llama.records import as_json
from steer_llama.records.tuned import Tried, Tuned, TunedSteer, TunedTrial, TunedVector
from steer_llama.stages.ensemble import Ensemble
from steer_llama.stages.journalled import journalled
from steer_llama.stages.tune_questions import Asked
from steer_llama.stages.tuner import Found, Given, Tuner
from steer_llama.vectors import SteeringVector

DEFAULT_REACH = 0.3
"""Strength up to which a vector is tried, either way round."""
_BEYOND = 1.5
"""How far beyond a larger recommendation."""


def default_bounds(vector: SteeringVector) -> tuple[float, float]:
    """±0.3, or half as far again as the vector's recommendation where that is larger."""
    reach = max(DEFAULT_REACH, _BEYOND * abs(vector.recommended_strength or 0.0))
    return -reach, reach


def tune(
    given: Sequence[Given],
    model_settings: ModelSettings,
    asked: Asked,
    elicitations: Sequence[str],
    sampling: Sampling,
    settings: TuneSettings,
    out: Path,
    reporter: Reporter,
    *,
    system_prompt: str = "",
    any_model: bool = False,
) -> Tuned:
    """Search, choose, confirm, and write ``out``.

    Args:
        given: the vectors, at least two.
        model_settings: the target's weights.
        asked: the questions, and the source's answers to them.
        elicitations: where the questions are from, for the record.
        sampling: how answers are drawn.
        settings: of the search and of the confirmation.
        out: the file to write; its journal lies beside it.
        reporter: where to tell.
        system_prompt: the target's own.
        any_model: accept other weights than the vectors were fitted on.

    Raises:
        ConfigError: fewer than two vectors, or bounds that leave out 0 or a recommendation.
        VectorError: a vector is not for this model, does not say what a strength is, or is zero at its layer.
        LayerError: a layer does not exist.
        InputError: nothing that was tried can win.
    """
    check_output(out)
    check_not_over(out, *(each.path for each in given))
    _check(given)
    model = load_model(model_settings, reporter)
    for each in given:
        fingerprint = model.fingerprint if not any_model else each.vector.model_fingerprint
        each.vector.check_fits(model.name, fingerprint, model.n_layers, model.width)
        check_layers([each.layer], model.n_layers, model.name)
    for note in asked.notes:
        reporter.note(note)
    with Journal(out.with_name(out.stem + ".journal.jsonl")) as journal:
        known = {trial.key: trial for trial in journalled(journal, TunedTrial)}
        ensemble = Ensemble(model, system_prompt, sampling, settings.batch_size)
        tuner = Tuner(given, asked, ensemble, settings, journal, known, reporter)
        dev = tuner.dev()
        found = tuner.search(dev)
        rule = _rule(found, settings)
        reporter.note(f"{_told(tuner.named(found.winner.strengths))}. {rule}")
        nulls = [tuner.search(dev, number) for number in range(settings.null)]
        answers, performance = tuner.confirm(found, nulls)
        source = tuner.of_source()
    metrics = {each.name: each.metric.score for each in given}
    again = {"resamples": settings.bootstrap, "seed": settings.seed}
    arms, margins = confirm(answers, source, dev.scale, metrics, **again)
    directions = {
        each.name: (each.layer, {layer: each.vector.direction_D(layer) for layer in each.vector.layers})
        for each in given
    }
    coherent = found.winner.outcome.coherence
    assert coherent is not None, "what wins has a coherence"
    tuned = Tuned(
        **_model_facts(model),
        source_name=asked.source_name,
        elicitations=tuple(elicitations),
        dev_questions=len(asked.dev),
        test_questions=len(asked.test),
        sampling=sampling.model_dump(include={"temperature", "top_p", "repetition_penalty"}),
        sampler=settings.sampler,
        min_coherence=settings.min_coherence,
        rule=rule,
        vectors=tuple(_vector(each, place, found, settings, out.parent) for place, each in enumerate(given)),
        steers=_steers(given, found, out.parent),
        distance=found.winner.outcome.distance,
        coherence=coherent,
        tried=_tried(found.points, tuner, settings),
        null_tried=tuple(_tried(null.points, tuner, settings) for null in nulls),
        arms=arms,
        margins=margins,
        interference=interference(performance, cosines_of(directions), **again),
        sentence=sentence(arms, margins, settings.min_coherence),
    )
    write_json(out, as_json(tuned))
    reporter.note(tuned.sentence)
    return tuned


def _check(given: Sequence[Given]) -> None:
    if len(given) < 2:
        raise ConfigError(
            f"{len(given)} vector: expected at least two. For the strength of one there is `steer-llama sweep`."
        )
    for each in given:
        if each.vector.residual_norm_L is None:
            raise VectorError(
                f"{each.name}: the vector does not say how large the residual stream is, so it has no strengths. Fit "
                "one with steer-llama."
            )
        each.vector.coefficient(each.layer, 1.0)
        low, high = each.bounds
        if not low <= 0 <= high or low == high:
            raise ConfigError(f"{each.name}: the bounds {low:g} and {high:g} must have 0 (not used) between them.")
        own = each.vector.recommended_strength
        if own is not None and not low <= own <= high:
            raise ConfigError(
                f"{each.name}: its recommended strength {own:g} lies outside the bounds {low:g} and {high:g}, so "
                f"tuning could not be compared with it. Widen them: --bounds {each.name}=LOW,HIGH."
            )


def _model_facts(model: LanguageModel) -> dict[str, str]:
    return {"model": model.name, "model_fingerprint": model.fingerprint, "dtype": model.dtype}


def _steers(given: Sequence[Given], found: Found, folder: Path) -> tuple[TunedSteer, ...]:
    return tuple(
        TunedSteer(
            name=each.name,
            path=_from(folder, each.path),
            digest=digest_file(each.path),
            layer=each.layer,
            strength=strength,
            coefficient=each.vector.coefficient(each.layer, strength),
        )
        for each, strength in zip(given, found.winner.strengths, strict=True)
        if strength
    )


def _vector(each: Given, place: int, found: Found, settings: TuneSettings, folder: Path) -> TunedVector:
    return TunedVector(
        name=each.name,
        path=_from(folder, each.path),
        digest=digest_file(each.path),
        trait=each.vector.trait,
        metric=each.metric.name,
        layer=each.layer,
        low=each.bounds[0],
        high=each.bounds[1],
        recommended=each.vector.recommended_strength,
        best_alone=best_alone(found.points, place, settings.min_coherence),
    )


def _tried(points: Sequence[Point], tuner: Tuner, settings: TuneSettings) -> tuple[Tried, ...]:
    return tuple(
        Tried(
            strengths=tuner.named(point.strengths),
            suggested=point.suggested,
            distance=point.outcome.distance if math.isfinite(point.outcome.distance) else None,
            coherence=point.outcome.coherence,
            eligible=point.eligible(settings.min_coherence),
        )
        for point in points
    )


def _rule(found: Found, settings: TuneSettings) -> str:
    eligible = sum(point.eligible(settings.min_coherence) for point in found.points)
    suggested = sum(point.suggested for point in found.points)
    return (
        f"The nearest to the source's style profile on the dev questions among the {eligible} of {len(found.points)} "
        f"combinations that keep a coherence of {settings.min_coherence:g}; {suggested} of them were suggested by the "
        f"sampler ({settings.sampler})."
    )


def _told(strengths: Mapping[str, float]) -> str:
    return " + ".join(f"{name} at {strength:g}" for name, strength in strengths.items()) or "no vector"


def _from(folder: Path, path: Path) -> str:
    """How to get from the folder to the file."""
    return str(path) if path.is_absolute() else Path(os.path.relpath(path, folder)).as_posix()
