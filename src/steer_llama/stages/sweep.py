"""``sweep``: steers the target on unseen questions, finds the best layer and strength, and confirms it once.

The dev questions choose; the test questions are answered once, by the winner and by everything it has to beat.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steer_llama.chat import Journal, read_responses
from steer_llama.config import Config, ModelSettings, Sampling, SweepSettings
from steer_llama.elicitations import read_elicitation, read_trait, with_split
from steer_llama.errors import VectorError
from steer_llama.evaluation import Wanted, choose_winner, judge_sweep
from steer_llama.files import check_output, digest_json, write_json, write_jsonl
from steer_llama.lm.layers import check_layers
from steer_llama.lm.load import load_model
from steer_llama.pairs import read_results
from steer_llama.progress import Reporter
from steer_llama.records import Condition, Demonstration, Elicitation, Response, Trial, Verdict, as_json
from steer_llama.rundir import ELICITATION, RESPONSES, RESULTS, SWEEP, VECTOR, VERDICT, RunDir
from steer_llama.stages.arms import prompt_of, weights_state
from steer_llama.stages.grid import default_layers, dev_jobs, test_jobs
from steer_llama.stages.journalled import journalled
from steer_llama.stages.measuring import asks_judge, judge_settings
from steer_llama.stages.scorers import Scorer, scorer_of
from steer_llama.stages.stage import Stage
from steer_llama.stages.trials import Laboratory
from steer_llama.vectors import SteeringVector, read_vector

HOW_DRAWN = ("temperature", "top_p", "repetition_penalty")


@dataclass(frozen=True)
class Question:
    """What a sweep is to find out."""

    trait: str
    scorer: Scorer
    """Who gives the trait scores."""
    wanted: Wanted
    """Whether the source shows more of the trait than the target, or less."""
    source_name: str
    target_name: str
    target_prompt: Demonstration
    source_prompt: Demonstration | None
    """What the target is given in the ``prompted`` arm; ``None`` leaves that arm out."""
    sampling: Sampling
    """The target's own: a steered answer is drawn as an unsteered one is."""


def sweep(
    vector: SteeringVector,
    model_settings: ModelSettings,
    elicitation: Elicitation,
    source: Sequence[Response],
    question: Question,
    settings: SweepSettings,
    out: Path,
    reporter: Reporter,
    *,
    any_model: bool = False,
) -> Verdict:
    """Run the grid, choose, confirm, and write ``out`` and the verdict beside it.

    Args:
        vector: what to steer with.
        model_settings: the target's weights.
        elicitation: its dev and test questions are asked.
        source: the source's answers, if there are any; they set what counts as coherent, and stand in the report.
        question: what is to be found out.
        settings: the grid and the confirmation.
        out: the trials' file.
        reporter: where to tell.
        any_model: accept other weights than the vector was fitted on.

    Raises:
        VectorError: the vector is not for this model, or does not say what a strength is.
        LayerError: a layer of the grid does not exist.
    """
    check_output(out)
    if vector.residual_norm_L is None:
        raise VectorError(
            "the vector does not say how large the residual stream is, so it has no strengths to sweep. Fit one with "
            "steer-llama, or try this one with `steer-llama generate --layer L --coefficient C`."
        )
    model = load_model(model_settings, reporter)
    fingerprint = model.fingerprint if not any_model else vector.model_fingerprint
    vector.check_fits(model.name, fingerprint, model.n_layers, model.width)
    layers = settings.layers or default_layers(vector.layers)
    check_layers(layers, model.n_layers, model.name)
    sampling = question.sampling
    if settings.max_tokens:
        sampling = sampling.model_copy(update={"max_tokens": settings.max_tokens})
    laboratory = Laboratory(model, vector, _fingerprint(vector), question.target_prompt, sampling, settings.batch_size)
    split = with_split(elicitation).split
    assert split is not None, "with_split gives a split"
    with Journal(out.with_name(out.stem + ".journal.jsonl")) as journal:
        known = {trial.key: trial for trial in journalled(journal, Trial)}
        held_out = [answer for answer in source if answer.role == "source" and answer.split != "extract"]
        trials = laboratory.of_source(held_out)
        trials += laboratory.run(dev_jobs(split, layers, settings), journal, known, reporter, "dev questions")
        trials = question.scorer.scored(trials)
        choice = choose_winner(
            trials,
            wanted=question.wanted,
            min_coherence=settings.min_coherence,
            bootstrap=settings.bootstrap,
            seed=settings.seed,
            objective="trait",
        )
        reporter.note(_chosen(choice.winner, choice.rule))
        jobs = test_jobs(split, choice.winner, question.source_prompt, settings)
        trials += question.scorer.scored(laboratory.run(jobs, journal, known, reporter, "test questions"))
    verdict = judge_sweep(
        trials,
        trait=question.trait,
        metric=question.scorer.name,
        model=model.name,
        source_name=question.source_name,
        target_name=question.target_name,
        wanted=question.wanted,
        min_coherence=settings.min_coherence,
        bootstrap=settings.bootstrap,
        seed=settings.seed,
        objective="trait",
    )
    drawn = sampling.model_dump(include=set(HOW_DRAWN))
    verdict = verdict.model_copy(update={"sampling": drawn})
    write_jsonl(out, [as_json(trial) for trial in trials])
    write_json(verdict_path(out), as_json(verdict))
    reporter.note(verdict.sentence)
    return verdict


def verdict_path(sweep_path: Path) -> Path:
    """Where a sweep's verdict is: ``verdict.json`` in a run folder, ``<name>.verdict.json`` beside another file."""
    return sweep_path.with_name(VERDICT if sweep_path.name == SWEEP else f"{sweep_path.stem}.verdict.json")


def _chosen(winner: Condition | None, rule: str) -> str:
    if winner is None:
        return rule
    return f"winner on dev questions: layer {winner.layer}, strength {winner.strength:g}. {rule}"


def _fingerprint(vector: SteeringVector) -> str:
    """Of what steers, and not of the evidence or the recommendation."""
    norms = [vector.residual_norm(layer) for layer in vector.layers]
    return digest_json([vector.directions_LD.tolist(), norms, list(vector.layers)])


def wanted_of(results_path: Path, config: Config) -> Wanted:
    """Which way the trait goes from target to source, from the kept pairs."""
    results = read_results(results_path, config.source.name, config.target.name).results
    kept = [result.score_difference for result in results if result.kept and result.score_difference is not None]
    return "more" if sum(kept) >= 0 else "less"


def _run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    path = rundir.path(ELICITATION)
    elicitation = read_elicitation(path)
    source_prompt = prompt_of(config.source, config)
    with scorer_of(config, elicitation, str(path), rundir.path(SWEEP), reporter, rundir.journals()) as scorer:
        sweep(
            read_vector(rundir.path(VECTOR)),
            config.model,
            elicitation,
            read_responses(rundir.path(RESPONSES)),
            Question(
                trait=config.trait_name,
                scorer=scorer,
                wanted=wanted_of(rundir.path(RESULTS), config),
                source_name=config.source.name,
                target_name=config.target.name,
                target_prompt=prompt_of(config.target, config),
                source_prompt=source_prompt if source_prompt.system_prompt or source_prompt.examples else None,
                sampling=config.target.sampling,
            ),
            config.sweep,
            rundir.path(SWEEP),
            reporter,
        )


def _settings(config: Config) -> dict[str, object]:
    return {
        "sweep": {k: v for k, v in config.sweep.model_dump(mode="json").items() if k != "batch_size"},
        "judge": judge_settings(config),
        "model": config.model.model_dump(mode="json"),
        "weights": weights_state(config.model),
        "trait": as_json(read_trait(config.trait)),
        "names": [config.source.name, config.target.name],
        "prompts": [as_json(prompt_of(arm, config)) for arm in (config.source, config.target)],
        "sampling": config.target.sampling.model_dump(mode="json"),
    }


STAGE = Stage(
    name="sweep",
    reads=(ELICITATION, RESPONSES, RESULTS, VECTOR),
    writes=(SWEEP, VERDICT),
    settings=_settings,
    run=_run,
    asks=asks_judge,
)
