"""``extract``: teacher-forces both answers of every kept pair through the target and keeps the residual stream."""

from pathlib import Path

from steer_llama.activations import extract_pairs
from steer_llama.config import Config, ExtractSettings, ModelSettings
from steer_llama.lm.load import load_model
from steer_llama.pairs import read_pairs
from steer_llama.progress import Reporter
from steer_llama.rundir import ACTIVATIONS, FILTERED, RunDir
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
) -> None:
    """Read the pairs of a file and write their activations.

    Raises:
        InputError: the pairs, the model or the settings cannot be used; the text says why.
    """
    read = read_pairs(pairs_path, chosen_field, rejected_field, system_prompt)
    if read.left_out:
        listed = ", ".join(f"{name!r} ({reason})" for name, reason in read.left_out)
        reporter.note(f"{len(read.left_out)} pairs kept out: {listed}")
    model = load_model(model_settings, reporter)
    reporter.note(f"{model.name} in {model.dtype} on {model.device} ({model.dtype_reason})")
    count = extract_pairs(model, read.pairs, settings, out, reporter)
    reporter.note(f"{count} pairs × {model.n_layers} layers × {model.width} wide → {out}")


def _run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    extract(
        rundir.path(FILTERED),
        config.model,
        config.extract,
        rundir.path(ACTIVATIONS),
        reporter,
        chosen_field=f"{config.source.name}_response",
        rejected_field=f"{config.target.name}_response",
        system_prompt=config.target.system_prompt,
    )


STAGE = Stage(
    name="extract",
    reads=(FILTERED,),
    writes=(ACTIVATIONS,),
    settings=lambda config: {
        "model": config.model.model_dump(mode="json"),
        "extract": config.extract.model_dump(mode="json"),
        "arms": [config.source.name, config.target.name],
        "system_prompt": config.target.system_prompt,
    },
    run=_run,
)
