"""``sweep``: steers the target on unseen questions, finds the best layer and strength, and confirms it once.

The dev questions choose; the test questions are answered once, by the winner and by everything it has to beat.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from steer_llama.chat import Journal, read_responses
from steer_llama.config import Config, ModelSettings, Sampling, SweepSettings
from steer_llama.elicitations import read_elicitation, read_trait, with_split
from steer_llama.errors import ConfigError, VectorError
from steer_llama.evaluation import Choice, Wanted, choose_winner, judge_sweep, next_step
from steer_llama.files import check_output, write_json, write_jsonl
from steer_llama.lm.layers import check_layers
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.pairs import read_results
from steer_llama.progress import Reporter
from steer_llama.records import (
    Condition,
    Demonstration,
    Elicitation,
    Response,
    SideEffects,
    Split,
    Spot,
    SweepSetup,
    Trial,
    Verdict,
    as_json,
)
from steer_llama.rundir import ELICITATION, RESPONSES, RESULTS, SWEEP, VECTOR, VERDICT, RunDir
from steer_llama.stages.arms import prompt_of, weights_state
from steer_llama.stages.effect_items import effect_items
from steer_llama.stages.grid import (
    default_layers,
    dev_questions,
    held_out,
    rival_prompts,
    spots_of,
    steered_jobs,
    test_jobs,
    unsteered_jobs,
)
from steer_llama.stages.journalled import journalled
from steer_llama.stages.measuring import asks_judge, judge_settings
from steer_llama.stages.scorers import Scorer, scorer_of
from steer_llama.stages.side_effects import side_effects
from steer_llama.stages.spots import steering_at
from steer_llama.stages.stage import Stage
from steer_llama.stages.trials import Job, Laboratory
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
    """What the target is given in the ``prompted`` arm; ``None``: an instruction of the elicitation."""
    sampling: Sampling
    """The target's own: a steered answer is drawn as an unsteered one is."""


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
    _check_source(source, split, settings)
    model = load_model(model_settings, reporter)
    layers = _layers_of(vectors, model, settings, any_model=any_model)
    sampling = question.sampling
    if settings.max_tokens:
        sampling = sampling.model_copy(update={"max_tokens": settings.max_tokens})
    laboratory = Laboratory(model, vectors, question.target_prompt, sampling, settings.batch_size)
    with Journal(out.with_name(out.stem + ".journal.jsonl")) as journal:
        known = {trial.key: trial for trial in journalled(journal, Trial)}
        bench = _Bench(laboratory, question.scorer, journal, known, reporter)
        bench.trials += question.scorer.scored(laboratory.of_source(source, held_out(split)))
        choice = _choose(bench, spots_of(layers, settings), dev_questions(split, settings), question, settings)
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


@dataclass
class _Bench:
    """Runs jobs, scores them, and keeps all that was seen."""

    laboratory: Laboratory
    scorer: Scorer
    journal: Journal
    known: dict[str, Trial]
    reporter: Reporter
    trials: list[Trial] = field(default_factory=list)

    def run(self, jobs: Sequence[Job], title: str) -> None:
        self.trials += self.scorer.scored(self.laboratory.run(jobs, self.journal, self.known, self.reporter, title))


def _choose(
    bench: _Bench, spots: Sequence[Spot], questions: Sequence[str], question: Question, settings: SweepSettings
) -> Choice:
    """Answer the dev questions, all of them or by halving, and choose."""
    bench.run(unsteered_jobs(questions), "dev questions, unsteered")
    if settings.halving:
        while (
            step := next_step(
                spots,
                questions,
                bench.trials,
                wanted=question.wanted,
                min_coherence=settings.min_coherence,
                objective=settings.objective,
            )
        ).pairs:
            bench.reporter.note(step.note)
            bench.run(steered_jobs(step.pairs), f"dev questions, round {step.number + 1}")
    else:
        bench.run(steered_jobs((spot, text) for spot in spots for text in questions), "dev questions, steered")
    return choose_winner(
        bench.trials,
        wanted=question.wanted,
        min_coherence=settings.min_coherence,
        bootstrap=settings.bootstrap,
        seed=settings.seed,
        objective=settings.objective,
    )


def _check_source(source: Sequence[Response], split: Split, settings: SweepSettings) -> None:
    """Refuse, before any work, to look for a likeness to answers that are not there."""
    if settings.objective != "fidelity":
        return
    asked = dev_questions(split, settings)
    answered = {answer.question for answer in source if answer.role == "source"} & set(asked)
    if len(answered) < 2:
        raise ConfigError(
            f"the source has answered {len(answered)} of the {len(asked)} dev questions, and fidelity is nearness to "
            "its answers (expected at least 2). Give them with --responses, or choose with --objective trait."
        )


def _layers_of(
    vectors: Mapping[str, SteeringVector], model: LanguageModel, settings: SweepSettings, *, any_model: bool
) -> dict[str, tuple[int, ...]]:
    """The layers to try, by vector."""
    layers: dict[str, tuple[int, ...]] = {}
    for name, vector in vectors.items():
        if vector.residual_norm_L is None:
            raise VectorError(
                f"the vector{f' {name!r}' if name else ''} does not say how large the residual stream is, so it has no "
                "strengths to sweep. Fit one with steer-llama, or try this one with "
                "`steer-llama generate --layer L --coefficient C`."
            )
        fingerprint = vector.model_fingerprint if any_model else model.fingerprint
        vector.check_fits(model.name, fingerprint, model.n_layers, model.width)
        layers[name] = settings.layers or default_layers(vector.layers)
        check_layers(layers[name], model.n_layers, model.name)
        for layer in layers[name]:
            vector.coefficient(layer, 1.0)  # so that a layer that it lacks is told now
    return layers


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
