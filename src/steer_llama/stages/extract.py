"""``extract``: teacher-forces both answers of every kept pair through the target and keeps the residual stream."""

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from steer_llama.activations import Existing, check_positions, extract_pairs
from steer_llama.config import Config, ExtractSettings, ModelSettings, StoreSettings
from steer_llama.files import check_output
from steer_llama.lm.reading import follow, is_follower, open_reader
from steer_llama.pairs import read_pairs
from steer_llama.progress import Reporter
from steer_llama.records import Message, Pair, Turn, as_json
from steer_llama.rundir import ACTIVATIONS, FILTERED, RunDir
from steer_llama.stages.arms import prompt_of, weights_state
from steer_llama.stages.extraction_log import extraction_log
from steer_llama.stages.stage import Stage

_log = logging.getLogger(__name__)


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
    store: StoreSettings | None = None,
    existing: Existing = "refuse",
) -> None:
    """Read the pairs of a file and write their activations, with a log beside them.

    The answers are read where the target would write them: after its own system prompt and example turns.

    Raises:
        InputError: the pairs, the model or the settings cannot be used; the text says why.
    """
    if is_follower():
        follow(model_settings, settings)
        return
    store = store or StoreSettings()
    check_output(out)
    check_positions(settings.positions)
    read = read_pairs(pairs_path, chosen_field, rejected_field, system_prompt)
    with extraction_log(out.parent, reporter) as logged:
        _log.info("steer-llama %s extract: %s → %s", version("steer-llama"), pairs_path, out)
        for name, section in (("model", model_settings), ("extract", settings), ("output", store)):
            _log.info("%s: %s", name, section.model_dump_json())
        _log.info(
            "%d pairs in %s; system prompt %r; %d example turns before them",
            len(read.pairs),
            pairs_path,
            system_prompt,
            len(examples),
        )
        if read.left_out:
            listed = ", ".join(f"{name!r} ({reason})" for name, reason in read.left_out)
            logged.note(f"{len(read.left_out)} pairs kept out: {listed}")
        _say_what_is_not_used(settings, store, logged)
        pairs = [_after(examples, pair) for pair in read.pairs]
        if store.layout == "per_sample":
            settings = settings.model_copy(update={"tokens": True})  # the reader plans its memory by it
        reader = open_reader(model_settings, settings, logged)
        try:
            logged.note(reader.about)
            count = extract_pairs(reader, pairs, settings, out, logged, store=store, existing=existing)
        finally:
            reader.close()
        layers = reader.n_layers if settings.layers is None else len(set(settings.layers))
        logged.note(f"{count} pairs × {layers} layers × {reader.width} wide → {out}")


def _say_what_is_not_used(settings: ExtractSettings, store: StoreSettings, reporter: Reporter) -> None:
    if store.layout == "pooled" and store.compression_asked:
        reporter.note(
            f"compression {store.compression} is not used: the pooled layout is written in place, so that it can go on "
            "after a kill, and activations would shrink by some 6%. The per_sample layout is compressed."
        )
    if store.layout == "per_sample" and "positions" in settings.model_fields_set:
        reporter.note("positions are not used: the per_sample layout holds every answer token and no means")


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
        # What lies in a run's folder is the run's own.
        existing="replace",
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
