"""``steer-llama sweep``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from steer_llama.cli.options import AnyModel, Device, Devices, Dtype, Model, numbers, settings, words

if TYPE_CHECKING:
    from steer_llama.progress import Reporter
    from steer_llama.records import Response


def sweep(
    vectors: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]FILE...", help="The vector to try, of any format with residual norms; several."),
    ],
    model: Model,
    elicitation: Annotated[
        str, typer.Option(help="Its dev and test questions are asked: a file, or the name of a packaged trait.")
    ],
    metric: Annotated[
        str | None, typer.Option(help="The measured style feature; default: the one of the vector's trait.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Instead of a metric: a configuration whose judge.endpoint scores."),
    ] = None,
    responses: Annotated[
        Path | None,
        typer.Option(help="responses.jsonl with the source's answers; default: the one beside the vector, if any."),
    ] = None,
    objective: Annotated[
        Literal["fidelity", "trait"],
        typer.Option(help="What wins: nearness to the source's whole style, or the trait's score."),
    ] = "fidelity",
    wanted: Annotated[Literal["more", "less"], typer.Option(help="Of the trait, than the target shows.")] = "more",
    out: Annotated[Path, typer.Option("--out", "-o", help="The sweep.jsonl to write.")] = Path("sweep.jsonl"),
    layers: Annotated[str | None, typer.Option(help="With commas, e.g. 8,12,16; default: five in the middle.")] = None,
    strengths: Annotated[str, typer.Option(help="With commas; ‖added‖ over the mean residual norm.")] = (
        "0.1,0.2,0.3,0.4"
    ),
    modes: Annotated[str, typer.Option(help="With commas, of add, keep_norm, clamp.")] = "add",
    where: Annotated[
        str, typer.Option(help="Which tokens; with commas, of all, prompt, response, divergence.")
    ] = "all",
    questions: Annotated[int | None, typer.Option(min=1, help="Dev questions to use; default: all.")] = None,
    halving: Annotated[
        bool, typer.Option(help="Stop what is clearly broken or weak early, or answer the whole grid.")
    ] = True,
    examples: Annotated[
        int, typer.Option(min=0, help="Of the source's answers, for the arm that is given examples; 0 leaves it out.")
    ] = 3,
    side_effects: Annotated[
        Literal["full", "quick", "none"], typer.Option(help="What to measure of what the winner does besides.")
    ] = "full",
    test_samples: Annotated[int, typer.Option(min=1, help="Answers per test question and arm.")] = 1,
    random_directions: Annotated[int, typer.Option(min=1, help="Random directions to be held against.")] = 3,
    min_coherence: Annotated[float, typer.Option(min=0, max=100, help="Below this nothing can win.")] = 60.0,
    system_prompt: Annotated[str, typer.Option(help="The target's own system prompt.")] = "",
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.7,
    repetition_penalty: Annotated[float, typer.Option(help="Over the answer's tokens, 1 is off.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Per answer.")] = 64,
    batch_size: Annotated[int, typer.Option(min=1, help="Answers written at once.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the answers, the random directions and the intervals.")] = 0,
    device: Device = "auto",
    n_devices: Devices = 1,
    dtype: Dtype = "auto",
    any_model: AnyModel = False,
) -> None:
    """Find the best layer and strength on dev questions and confirm it once on test questions → sweep.jsonl.

    The verdict is written beside it (<name>.verdict.json).
    """
    from steer_llama.cli.judging import sweep_scorer
    from steer_llama.cli.opening import opened_for_use
    from steer_llama.config import ModelSettings, Sampling, SweepSettings
    from steer_llama.elicitations import read_elicitation
    from steer_llama.progress import ConsoleReporter
    from steer_llama.records import Demonstration
    from steer_llama.stages.named_vectors import files_of, named
    from steer_llama.stages.sweep import sweep as run_sweep
    from steer_llama.stages.sweep import verdict_path
    from steer_llama.stages.sweep_question import Question

    reporter = ConsoleReporter()
    pairs = files_of(vectors)
    opened = named(pairs, [opened_for_use(path, reporter) for _, path in pairs])
    loaded = {name: vector for name, (_, vector) in opened.items()}
    first = next(iter(loaded.values()))
    if len(loaded) == 1:
        loaded = {"": first}
    asked = read_elicitation(elicitation)
    answers = _answers(responses, [path for _, path in pairs], reporter)
    sources = {answer.arm for answer in answers if answer.role == "source"}
    with sweep_scorer(config, metric, first.trait, asked, elicitation, out, reporter) as scorer:
        run_sweep(
            loaded,
            settings(ModelSettings, path=model, device=device, n_devices=n_devices, dtype=dtype),
            asked,
            answers,
            Question(
                trait=first.trait or "trait",
                scorer=scorer,
                wanted=wanted,
                source_name=next(iter(sources), "source"),
                target_name=first.model or "target",
                target_prompt=Demonstration(system_prompt=system_prompt),
                source_prompt=None,
                sampling=settings(
                    Sampling,
                    temperature=temperature,
                    repetition_penalty=repetition_penalty,
                    max_tokens=max_tokens,
                    seed=seed,
                ),
            ),
            settings(
                SweepSettings,
                layers=None if layers is None else numbers(layers, int, "--layers"),
                strengths=numbers(strengths, float, "--strengths"),
                modes=words(modes),
                where=words(where),
                objective=objective,
                questions=questions,
                halving=halving,
                examples=examples,
                side_effects=side_effects,
                test_samples=test_samples,
                random_directions=random_directions,
                min_coherence=min_coherence,
                batch_size=batch_size,
                seed=seed,
            ),
            out,
            reporter,
            any_model=any_model,
        )
    reporter.note(f"wrote {out} and {verdict_path(out)}")


def _answers(given: Path | None, vectors: Sequence[Path], reporter: "Reporter") -> "list[Response]":
    """The answers that were named, or those of the run that the vector is of."""
    from steer_llama.chat import read_responses
    from steer_llama.rundir import RESPONSES

    beside = [path.with_name(RESPONSES) for path in vectors if path.with_name(RESPONSES).is_file()]
    if given is None and beside:
        reporter.note(f"the source's answers are those beside the vector: {beside[0]}")
        return read_responses(beside[0])
    return read_responses(given) if given else []
