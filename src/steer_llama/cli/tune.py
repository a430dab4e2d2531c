"""``steer-llama tune``."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from steer_llama.cli.options import AnyModel, Device, Devices, Dtype, Model, numbers, settings

if TYPE_CHECKING:
    from steer_llama.progress import Reporter
    from steer_llama.records import Interval
    from steer_llama.records.tuned import Tuned
    from steer_llama.stages.tuner import Given
    from steer_llama.style import Metric
    from steer_llama.vectors import SteeringVector


def tune(
    vectors: Annotated[
        list[str],
        typer.Option(
            "--vector", metavar="NAME[@LAYER]=FILE", help="At least two; the layer's default is the recommendation."
        ),
    ],
    model: Model,
    elicitations: Annotated[
        list[str],
        typer.Option("--elicitation", help="Its dev and test questions are asked: a file, or a packaged trait's name."),
    ],
    responses: Annotated[
        list[Path], typer.Option("--responses", help="responses.jsonl with the source's answers to these questions.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The steers.json to write.")] = Path("steers.json"),
    bounds: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]LOW,HIGH",
            help="Strengths that are allowed; default: -0.3,0.3, or 1.5 times a larger recommendation.",
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="NAME=METRIC", help="A vector's measured style feature; default: its trait's own."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=0, help="Combinations suggested by the sampler, at most.")] = 40,
    per_round: Annotated[int, typer.Option(min=1, help="Suggested at once, written in one batch.")] = 4,
    patience: Annotated[int, typer.Option(min=1, help="Suggestions without a better one, after which it stops.")] = 16,
    sampler: Annotated[
        Literal["gp", "tpe"], typer.Option(help="Optuna's: gp needs fewer trials, tpe no time of its own.")
    ] = "gp",
    questions: Annotated[
        int | None, typer.Option(min=1, help="Dev questions of each elicitation; default: all.")
    ] = None,
    dev_samples: Annotated[
        int, typer.Option(min=1, help="Answers per dev question and combination; more are less a matter of luck.")
    ] = 1,
    min_coherence: Annotated[float, typer.Option(min=0, max=100, help="Below this nothing can win.")] = 60.0,
    null: Annotated[
        int, typer.Option(min=0, help="Also tune random directions of the same norms so many times, as a null.")
    ] = 0,
    test_samples: Annotated[int, typer.Option(min=1, help="Answers per test question and arm.")] = 1,
    system_prompt: Annotated[str, typer.Option(help="The target's own system prompt.")] = "",
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling, 1 is off.")] = 1.0,
    repetition_penalty: Annotated[float, typer.Option(help="Over the answer's tokens, 1 is off.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Per answer.")] = 64,
    batch_size: Annotated[int, typer.Option(min=1, help="Answers written at once.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of the answers, the sampler, the null and the intervals.")] = 0,
    device: Device = "auto",
    n_devices: Devices = 1,
    dtype: Dtype = "auto",
    any_model: AnyModel = False,
) -> None:
    """Choose the strengths of several vectors together, nearest to the source's whole style → steers.json.

    Chosen on dev questions and confirmed once on test questions, against the plain sum and each vector alone; with how
    far the vectors interfere. After a kill the same command goes on where it was.
    """
    from steer_llama.chat import read_responses
    from steer_llama.config import ModelSettings, Sampling, TuneSettings
    from steer_llama.elicitations import read_elicitation
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.tune import tune as run_tune
    from steer_llama.stages.tune_questions import asked_of_all

    reporter = ConsoleReporter()
    asked = asked_of_all(
        {name: read_elicitation(name) for name in elicitations},
        [answer for path in responses for answer in read_responses(path)],
        questions,
    )
    given = _given(vectors, bounds or (), metrics or (), reporter)
    sampling = settings(
        Sampling,
        temperature=temperature,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        max_tokens=max_tokens,
        seed=seed,
    )
    drawn = sampling.model_dump(include={"temperature", "top_p", "repetition_penalty"})
    for each in given:
        if (other := each.vector.recommended_sampling) and other != drawn:
            told = ", ".join(f"{key} {value:g}" for key, value in other.items())
            reporter.note(f"{each.name}: its recommendation was found under another sampling ({told})")
    tuned = run_tune(
        given,
        settings(ModelSettings, path=model, device=device, n_devices=n_devices, dtype=dtype),
        asked,
        elicitations,
        sampling,
        settings(
            TuneSettings,
            trials=trials,
            per_round=per_round,
            patience=patience,
            sampler=sampler,
            questions=questions,
            dev_samples=dev_samples,
            min_coherence=min_coherence,
            null=null,
            batch_size=batch_size,
            test_samples=test_samples,
            seed=seed,
        ),
        out,
        reporter,
        system_prompt=system_prompt,
        any_model=any_model,
    )
    console = Console(highlight=False)
    for table in (_arms(tuned), _effects(tuned)):
        console.print(table)
    reporter.note(f"wrote {out}")


def _given(
    vectors: Sequence[str], bounds: Sequence[str], metrics: Sequence[str], reporter: "Reporter"
) -> list["Given"]:
    from steer_llama.cli.opening import opened_for_use
    from steer_llama.errors import ConfigError
    from steer_llama.stages.combine import named_files
    from steer_llama.stages.tune import default_bounds
    from steer_llama.stages.tuner import Given

    layers: dict[str, int] = {}
    plain = []
    for text in vectors:
        left, sign, path = text.partition("=")
        name, at, layer = left.partition("@")
        if at:
            if not layer.isdecimal():
                raise ConfigError(f"--vector {text!r}: expected NAME@LAYER=FILE with a whole number, e.g. emoji@12=…")
            layers[name] = int(layer)
        plain.append(f"{name}{sign}{path}")
    files = named_files(plain)
    allowed, features = _bounds(bounds, files), _named(metrics, files, "--metric", "NAME=METRIC")
    given = []
    for name, file in files.items():
        vector = opened_for_use(file, reporter)
        at_layer = layers.get(name, vector.recommended_layer)
        if at_layer is None:
            raise ConfigError(
                f"--vector {name}: it recommends no layer yet. Name one, {name}@LAYER={file}, or find one with "
                "`steer-llama sweep` and `steer-llama report`."
            )
        own = allowed.get(name) or allowed.get("") or default_bounds(vector)
        given.append(Given(name, file, vector, at_layer, _metric(name, features.get(name), vector), own))
    return given


def _metric(name: str, chosen: str | None, vector: "SteeringVector") -> "Metric":
    from steer_llama.elicitations import read_trait
    from steer_llama.packaged import packaged_traits
    from steer_llama.stages.measuring import choose_metric

    trait = read_trait(vector.trait) if vector.trait in packaged_traits() else None
    return choose_metric(chosen, trait, f"--metric {name}=…")


def _bounds(given: Sequence[str], files: Mapping[str, Path]) -> dict[str, tuple[float, float]]:
    """By name; those for all under the empty one."""
    from steer_llama.errors import ConfigError

    found: dict[str, tuple[float, float]] = {}
    for text in given:
        name, sign, pair = text.rpartition("=")
        values = numbers(pair, float, "--bounds")
        if len(values) != 2 or not all(map(math.isfinite, values)) or values[0] >= values[1]:
            raise ConfigError(f"--bounds {text!r}: expected LOW,HIGH or NAME=LOW,HIGH, e.g. emoji=-0.1,0.4.")
        if (sign and name not in files) or name in found:
            raise ConfigError(f"--bounds {text!r}: expected once for all, or once for a NAME of --vector.")
        found[name] = (values[0], values[1])
    return found


def _named(given: Sequence[str], files: Mapping[str, Path], flag: str, form: str) -> dict[str, str]:
    from steer_llama.errors import ConfigError

    found: dict[str, str] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in files or name in found or not value:
            raise ConfigError(f"{flag} {text!r}: expected {form}, once for a NAME of --vector.")
        found[name] = value
    return found


def _arms(tuned: "Tuned") -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for title in ("test questions", "strengths", "distance", "closed", "coherence"):
        table.add_column(Text(title), overflow="fold")
    for vector in tuned.vectors:
        table.add_column(Text(f"{vector.name} ({vector.metric})"), overflow="fold")
    for arm in tuned.arms:
        strengths = ", ".join(f"{name} {strength:g}" for name, strength in arm.strengths.items()) or "–"
        table.add_row(
            Text(arm.label),
            Text(strengths),
            _said(arm.fidelity.distance, 2),
            _said(arm.fidelity.closed, 2),
            "–" if arm.coherence is None else _said(arm.coherence, 0),
            *(_said(interval, 0) for interval in arm.traits.values()),
        )
    return table


def _effects(tuned: "Tuned") -> Table:
    """Vector i moves trait j by so many points."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    strengths = ", ".join(f"{name} {strength:g}" for name, strength in tuned.interference.strengths.items())
    table.add_column(Text(f"alone, at its strength in {strengths or 'no combination'}, moves"), overflow="fold")
    for vector in tuned.vectors:
        table.add_column(Text(f"{vector.name} ({vector.metric})"), overflow="fold")
    table.add_column("kept in company", overflow="fold")
    found = tuned.interference
    for kept in found.kept:
        moved = [effect.points for effect in found.effects if effect.vector == kept.vector]
        share = "–" if kept.share is None else _said(kept.share, 2)
        table.add_row(Text(kept.vector), *(_said(points, 0) for points in moved), share)
    for title, which in (("all together", "together"), ("sum of the single effects", "added_up"), ("gap", "gap")):
        table.add_row(title, *(_said(getattr(each, which), 0) for each in found.additivity), "")
    for cosine in found.cosines:
        table.add_row(Text(f"cosine {cosine.first} {cosine.second}, layer {cosine.layer}"), f"{cosine.cosine:.2f}")
    return table


def _said(interval: "Interval", digits: int) -> Text:
    if not interval.n:
        return Text("–")
    mean, low, high = (round(value, digits) + 0.0 for value in (interval.mean, interval.low, interval.high))
    return Text(f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")
