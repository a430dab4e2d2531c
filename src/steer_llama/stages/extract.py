"""``extract``: teacher-forces both answers of every kept pair through the target and keeps the residual stream."""

from collections.abc import Sequence
from pathlib import Path

from steer_llama.activations import check_positions, extract_pairs
from steer_llama.config import Config, ExtractSettings, ModelSettings
from steer_llama.files import check_output
from steer_llama.lm.load import load_model
from steer_llama.pairs import read_pairs
from steer_llama.progress import Reporter
from steer_llama.records import Message, Pair, Turn, as_json
from steer_llama.rundir import ACTIVATIONS, FILTERED, RunDir
from steer_llama.stages.arms import prompt_of, weights_state
from steer_llama.stages.stage import Stage


def extract(
    pairs_path: Path,
    model_settings: ModelSettings,
    settings: ExtractSettings,
    out: Path,
    reporter: Reporter,
    *,
    chosen_field: str | None = None,
    rejected_field: str | None = None,
    system_prompt: str = "",
    examples: Sequence[Turn] = (),
) -> None:
    """Read the pairs of a file and write their activations.

    The answers are read where the target would write them: after its own system prompt and example turns.

    Raises:
        InputError: the pairs, the model or the settings cannot be used; the text says why.
    """
    check_output(out)
    check_positions(settings.positions)
    read = read_pairs(pairs_path, chosen_field, rejected_field, system_prompt)
    if read.left_out:
        listed = ", ".join(f"{name!r} ({reason})" for name, reason in read.left_out)
        reporter.note(f"{len(read.left_out)} pairs kept out: {listed}")
    model = load_model(model_settings, reporter)
    reporter.note(f"{model.name} in {model.dtype} on {model.device} ({model.dtype_reason})")
    pairs = [_after(examples, pair) for pair in read.pairs]
    count = extract_pairs(model, pairs, settings, out, reporter)
    reporter.note(f"{count} pairs × {model.n_layers} layers × {model.width} wide → {out}")


def _after(examples: Sequence[Turn], pair: Pair) -> Pair:
    """The pair with the example turns before its conversation, behind its system message."""
    other = pair.rejected_prompt
    prompts = {
        "prompt": _with_examples(pair.prompt, examples),
        "rejected_prompt": None if other is None else _with_examples(other, examples),
    }
    return pair.model_copy(update=prompts)


def _with_examples(prompt: tuple[Message, ...], examples: Sequence[Turn]) -> tuple[Message, ...]:
    head = 1 if prompt[0]["role"] == "system" else 0
    turns = [
        Message(role=role, content=content)
        for turn in examples
        for role, content in (("user", turn.user), ("assistant", turn.assistant))
    ]
    return (*prompt[:head], *turns, *prompt[head:])


def _run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    prompt = prompt_of(config.target, config)
    extract(
        rundir.path(FILTERED),
        config.model,
        config.extract,
        rundir.path(ACTIVATIONS),
        reporter,
        chosen_field=f"{config.source.name}_response",
        rejected_field=f"{config.target.name}_response",
        system_prompt=prompt.system_prompt,
        examples=prompt.examples,
    )


def _settings(config: Config) -> object:
    check_positions(config.extract.positions)
    return {
        "model": config.model.model_dump(mode="json"),
        "weights": weights_state(config.model),
        "extract": config.extract.model_dump(mode="json"),
        "arms": [config.source.name, config.target.name],
        "prompt": as_json(prompt_of(config.target, config)),
    }


STAGE = Stage(name="extract", reads=(FILTERED,), writes=(ACTIVATIONS,), settings=_settings, run=_run)
