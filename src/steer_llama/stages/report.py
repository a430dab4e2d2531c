"""``report``: the page that tells it all, and the recommendation in the vector."""

from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from steer_llama.config import Config, explain
from steer_llama.errors import ConfigError, FileError, RecordError
from steer_llama.evaluation.page import render_report
from steer_llama.files import read_json, read_jsonl, write_text
from steer_llama.progress import Reporter
from steer_llama.records import Trial, Verdict, as_json
from steer_llama.rundir import REPORT, SWEEP, VECTOR, VERDICT, RunDir
from steer_llama.stages.stage import Stage
from steer_llama.stages.sweep import verdict_path
from steer_llama.vectors import SteeringVector, read_vector, write_vector

_SHOWN_EVIDENCE = (
    "pairs",
    "layers",
    "norm",
    "residual_norm",
    "null_norm",
    "bootstrap_cosine",
    "split_half_cosine",
    "held_out_auroc",
    "fallback",
    "resamplings",
)


def report(sweep_path: Path, vector_path: Path | None, out: Path, examples: int) -> Verdict:
    """Write the page, and the recommended layer and strength into the vector (if one is given).

    Raises:
        FileError: a file is missing or of another format.
        ConfigError: of the sweep's several vectors it is not the winner.
    """
    verdict, trials = read_verdict(verdict_path(sweep_path)), read_trials(sweep_path)
    vector = read_vector(vector_path) if vector_path else None
    if vector is not None and vector_path is not None:
        _check_winner(verdict, vector, vector_path)
    evidence = _shown_evidence(vector) if vector else {}
    title = f"{verdict.trait}: {verdict.source_name} → {verdict.target_name} ({verdict.model})"
    write_text(out, render_report(verdict, trials, evidence, examples, title))
    if vector is not None and vector_path is not None:
        write_vector(vector_path, recommended(vector, verdict))
    return verdict


def _check_winner(verdict: Verdict, vector: SteeringVector, path: Path) -> None:
    name = verdict.winner.vector if verdict.winner else ""
    if name and name not in (vector.trait, path.stem):
        raise ConfigError(
            f"the winner of this sweep is the vector {name!r}, and {path} is another ({vector.trait or path.stem}). "
            "Give the winner's file with --vector, or none."
        )


def recommended(vector: SteeringVector, verdict: Verdict) -> SteeringVector:
    """The vector with the sweep's winner as its recommendation and the verdict in its evidence, whatever it says."""
    winner = verdict.winner
    evidence = {
        **vector.evidence,
        "verdict": {
            "decision": verdict.decision,
            "sentence": verdict.sentence,
            "wanted": verdict.wanted,
            "objective": verdict.objective,
            "sampling": verdict.sampling,
            **({"mode": winner.mode, "where": winner.where} if winner else {}),
        },
        "test": [as_json(arm) for arm in verdict.arms],
    }
    return replace(
        vector,
        recommended_layer=winner.layer if winner else None,
        recommended_strength=winner.strength if winner else None,
        evidence=evidence,
    )


def read_verdict(path: Path) -> Verdict:
    """Read a verdict.

    Raises:
        FileError: missing, or not a verdict.
    """
    try:
        return Verdict.model_validate(read_json(path, "a verdict, as `steer-llama sweep` writes it beside its trials"))
    except ValidationError as error:
        raise FileError(f"{path}: not a verdict: {explain(error, Verdict)}") from error


def read_trials(path: Path) -> list[Trial]:
    """Read the trials of a sweep.

    Raises:
        FileError: the file is missing or empty.
        RecordError: a line is no trial.
    """
    trials = []
    for number, row in read_jsonl(path, "trials, as `steer-llama sweep` writes them"):
        try:
            trials.append(Trial.model_validate(row))
        except ValidationError as error:
            raise RecordError(f"{path}, line {number}: {explain(error, Trial)}") from error
    return trials


def _shown_evidence(vector: SteeringVector) -> dict[str, object]:
    facts: dict[str, object] = {"estimator": vector.estimator, "positions": vector.positions}
    return facts | {key: vector.evidence[key] for key in _SHOWN_EVIDENCE if key in vector.evidence}


def _run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    out = rundir.path(REPORT)
    report(rundir.path(SWEEP), rundir.path(VECTOR), out, config.report.examples)
    reporter.note(f"{out} ({out.stat().st_size / 1e6:.1f} MB, one file)")


STAGE = Stage(
    name="report",
    reads=(SWEEP, VERDICT),
    writes=(REPORT,),
    amends=(VECTOR,),
    settings=lambda config: config.report.model_dump(mode="json"),
    run=_run,
)
