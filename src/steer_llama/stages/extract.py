"""``extract``: teacher-forces both answers of every kept pair through the target and keeps the residual stream."""

import logging
from importlib.metadata import version
from pathlib import Path

from steer_llama.activations import Existing, check_positions, extract_pairs
from steer_llama.config import Config, ExtractSettings, ModelSettings, StoreSettings
from steer_llama.files import check_output
from steer_llama.lm.reading import follow, is_follower, open_reader
from steer_llama.progress import Reporter
from steer_llama.records import as_json
from steer_llama.rundir import ACTIVATIONS, FILTERED, RunDir
from steer_llama.stages.arms import prompt_of, weights_state
from steer_llama.stages.conversations import PairsFile
from steer_llama.stages.extraction_log import extraction_log
from steer_llama.stages.stage import Stage

_log = logging.getLogger(__name__)


def extract(
    pairs: PairsFile,
    model_settings: ModelSettings,
    settings: ExtractSettings,
    out: Path,
    reporter: Reporter,
    *,
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
    read = pairs.read()
    with extraction_log(out.parent, reporter) as logged:
        _log.info("steer-llama %s extract: %s → %s", version("steer-llama"), pairs.path, out)
        for name, section in (("model", model_settings), ("extract", settings), ("output", store)):
            _log.info("%s: %s", name, section.model_dump_json())
        _log.info(
            "%d pairs in %s; system prompt %r; %d example turns before them",
            len(read.pairs),
            pairs.path,
            pairs.system_prompt,
            len(pairs.examples),
        )
        if read.left_out:
            listed = ", ".join(f"{name!r} ({reason})" for name, reason in read.left_out)
            logged.note(f"{len(read.left_out)} pairs kept out: {listed}")
        _say_what_is_not_used(settings, store, logged)
        if store.layout == "per_sample":
            settings = settings.model_copy(update={"tokens": True})  # the reader plans its memory by it
        reader = open_reader(model_settings, settings, logged)
        try:
            logged.note(reader.about)
            count = extract_pairs(reader, read.pairs, settings, out, logged, store=store, existing=existing)
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


def _run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    extract(
        PairsFile.of_run(config, rundir),
        config.model,
        config.extract,
        rundir.path(ACTIVATIONS),
        reporter,
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
