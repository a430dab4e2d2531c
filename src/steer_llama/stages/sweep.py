"""``sweep``: steers the target on unseen questions, finds the best layer and strength, and confirms it once.

The dev questions choose; the test questions are answered once, by the winner and by everything it has to beat.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from steer_llama.chat import Journal, read_responses
from steer_llama.config import Config, ModelSettings, Sampling, SweepSettings
from steer_llama.elicitations import read_elicitation, read_trait, with_split
from steer_llama.evaluation import Choice, Wanted, judge_sweep
from steer_llama.files import check_output, write_json, write_jsonl
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.pairs import read_results
from steer_llama.progress import Reporter
from steer_llama.records import (
    Condition,
    Elicitation,
    Response,
    SideEffects,
    SweepSetup,
    Trial,
    Verdict,
    as_json,
)
from steer_llama.rundir import ELICITATION, RESPONSES, RESULTS, SWEEP, VECTOR, VERDICT, RunDir
from steer_llama.stages.arms import prompt_of, weights_state
from steer_llama.stages.bench import Bench, choose_on_dev
from steer_llama.stages.effect_items import effect_items
from steer_llama.stages.grid import (
    dev_questions,
    held_out,
    rival_prompts,
    spots_of,
    test_jobs,
)
from steer_llama.stages.journalled import journalled
from steer_llama.stages.measuring import asks_judge, judge_settings
from steer_llama.stages.scorers import scorer_of
from steer_llama.stages.side_effects import side_effects
from steer_llama.stages.spots import steering_at
from steer_llama.stages.stage import Stage
from steer_llama.stages.sweep_question import Question, check_source, layers_to_try
from steer_llama.stages.trials import Laboratory
from steer_llama.vectors import SteeringVector, read_vector

HOW_DRAWN = ("temperature", "top_p", "repetition_penalty")


def sweep(
    vectors: Mapping[str, SteeringVector],
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
        vectors: what to steer with; a single one may have the name ``""``.
        model_settings: the target's weights.
        elicitation: its dev and test questions are asked.
        source: the source's answers, if there are any: what fidelity is to, and what sets the norm of coherence.
        question: what is to be found out.
        settings: the grid and the confirmation.
        out: the trials' file.
        reporter: where to tell.
        any_model: accept other weights than the vectors were fitted on.

    Raises:
        ConfigError: fidelity is asked for, and there are too few answers of the source to dev questions.
        VectorError: a vector is not for this model, or does not say what a strength is.
        LayerError: a layer of the grid does not exist.
    """
    check_output(out)
    split = with_split(elicitation).split
    assert split is not None, "with_split gives a split"
    check_source(source, split, settings)
    model = load_model(model_settings, reporter)
    layers = layers_to_try(vectors, model, settings, any_model=any_model)
    sampling = question.sampling
    if settings.max_tokens:
        sampling = sampling.model_copy(update={"max_tokens": settings.max_tokens})
    laboratory = Laboratory(model, vectors, question.target_prompt, sampling, settings.batch_size)
    with Journal(out.with_name(out.stem + ".journal.jsonl")) as journal:
        known = {trial.key: trial for trial in journalled(journal, Trial)}
        bench = Bench(laboratory, question.scorer, journal, known, reporter)
        bench.trials += question.scorer.scored(laboratory.of_source(source, held_out(split)))
        choice = choose_on_dev(bench, spots_of(layers, settings), dev_questions(split, settings), question, settings)
        reporter.note(_chosen(choice))
        prompts = rival_prompts(
            question.target_prompt,
            question.source_prompt,
            elicitation,
            source,
            split,
            wanted=question.wanted,
            examples=settings.examples,
        )
        bench.run(test_jobs(split, choice.winner, prompts, settings), "test questions")
    verdict = judge_sweep(
        bench.trials,
        trait=question.trait,
        metric=question.scorer.name,
        model=model.name,
        source_name=question.source_name,
        target_name=question.target_name,
        wanted=question.wanted,
        min_coherence=settings.min_coherence,
        bootstrap=settings.bootstrap,
        seed=settings.seed,
        objective=settings.objective,
    )
    effects = None
    if choice.winner is not None and settings.side_effects != "none":
        effects = _side_effects(choice.winner, vectors, model, question, sampling, settings, out, reporter)
    drawn = sampling.model_dump(include=set(HOW_DRAWN))
    setup = SweepSetup(
        dtype=model.dtype,
        revision=model.origin.revision or None,
        max_tokens=sampling.max_tokens,
        bootstrap=settings.bootstrap,
        seed=settings.seed,
    )
    verdict = verdict.model_copy(update={"sampling": drawn, "setup": setup, "side_effects": effects})
    write_jsonl(out, [as_json(trial) for trial in bench.trials])
    write_json(verdict_path(out), as_json(verdict))
    reporter.note(verdict.sentence)
    if effects is not None:
        for sentence in effects.sentences:
            reporter.note(sentence.text)
    return verdict


def _side_effects(
    winner: Condition,
    vectors: Mapping[str, SteeringVector],
    model: LanguageModel,
    question: Question,
    sampling: Sampling,
    settings: SweepSettings,
    out: Path,
    reporter: Reporter,
) -> SideEffects:
    """What the winner does besides; journalled beside the sweep."""
    with Journal(out.with_name(out.stem + ".effects.journal.jsonl")) as journal:
        return side_effects(
            model,
            (steering_at(winner.spot, vectors[winner.vector]),),
            sampling,
            question.target_prompt,
            settings.batch_size,
            journal,
            str(winner.spot),
            reporter,
            bootstrap=settings.bootstrap,
            seed=settings.seed,
            items=effect_items(quick=settings.side_effects == "quick"),
            score=question.scorer.count_score,
        )


def verdict_path(sweep_path: Path) -> Path:
    """Where a sweep's verdict is: ``verdict.json`` in a run folder, ``<name>.verdict.json`` beside another file."""
    return sweep_path.with_name(VERDICT if sweep_path.name == SWEEP else f"{sweep_path.stem}.verdict.json")


def _chosen(choice: Choice) -> str:
    if choice.winner is None:
        return choice.rule
    return f"winner on dev questions: {choice.winner.spot}. {choice.rule}"


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
            {"": read_vector(rundir.path(VECTOR))},
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
