"""``steer-llama extract``."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from steer_llama.cli.options import Device, Devices, Dtype, numbers
from steer_llama.config import DEFAULT_POSITIONS

_KEYS = {
    "model": "model.path",
    "device": "model.device",
    "n_devices": "model.n_devices",
    "dtype": "model.dtype",
    "pairs": "dataset.path",
    "chosen_field": "dataset.chosen_field",
    "rejected_field": "dataset.rejected_field",
    "system_prompt": "dataset.system_prompt",
    "out": "output.file",
    "layout": "output.layout",
    "save_every": "processing.save_every",
    "positions": "extract.positions",
    "layers": "extract.layers",
    "backend": "extract.backend",
    "token_budget": "extract.token_budget",
    "tokens": "extract.tokens",
    "skip_too_long": "extract.skip_too_long",
}
"""What each flag sets. Defaults are the configuration's; a flag that is given wins over the file and over --set."""


def extract(
    context: typer.Context,
    pairs: Annotated[
        Path | None, typer.Option(help="filtered.json, or DPO rows (JSONL) as TRL writes them.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A folder, a GGUF file, a hub id, or smollm2.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="Instead of --pairs and --model: a YAML with model, dataset, output, processing and extract. "
            "Flags beside it win.",
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of it, e.g. --set model.path=smollm2."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("activations.h5"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there; one of other settings is refused else.")
    ] = False,
    layout: Annotated[
        Literal["pooled", "per_sample"],
        typer.Option(help="pooled: means over masks; per_sample: every answer token, in the seed's layout."),
    ] = "pooled",
    positions: Annotated[
        str, typer.Option(help="Masks to pool over, with commas; all are found in one pass.")
    ] = ",".join(DEFAULT_POSITIONS),
    layers: Annotated[
        str | None, typer.Option(help="With commas, e.g. 10,20,30; default: all.", show_default=False)
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Store every response token of every layer too.")] = False,
    chosen_field: Annotated[
        str | None, typer.Option(help="Key of the answer with the wanted style, e.g. pi_response.")
    ] = None,
    rejected_field: Annotated[str | None, typer.Option(help="Key of the other answer, e.g. llama_response.")] = None,
    system_prompt: Annotated[str, typer.Option(help="A system prompt before every question that has none.")] = "",
    skip_too_long: Annotated[
        bool, typer.Option("--skip-too-long", help="Keep pairs that do not fit the context out instead of stopping.")
    ] = False,
    save_every: Annotated[int, typer.Option(min=1, help="Pairs between two writes to disk.")] = 10,
    backend: Annotated[
        Literal["transformers", "transformer_lens", "vllm"], typer.Option(help="What runs the weights.")
    ] = "transformers",
    token_budget: Annotated[
        int | None,
        typer.Option(
            min=1, help="The most tokens of one forward pass; default: chosen for the machine.", show_default=False
        ),
    ] = None,
    device: Device = "auto",
    n_devices: Devices = 1,
    dtype: Dtype = "auto",
) -> None:
    """Read the model's residual stream over both answers of every pair → activations.h5.

    Interrupted and started again with the same flags, it goes on after the last pairs that were saved.

    What it does is logged in dpo_activations.log beside the file.
    """
    from steer_llama.config import load_extraction
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.conversations import PairsFile
    from steer_llama.stages.extract import extract as read

    values = {
        "model": model,
        "device": device,
        "n_devices": n_devices,
        "dtype": dtype,
        "pairs": str(pairs),
        "chosen_field": chosen_field,
        "rejected_field": rejected_field,
        "system_prompt": system_prompt,
        "out": str(out),
        "layout": layout,
        "save_every": save_every,
        "positions": [name.strip() for name in positions.split(",") if name.strip()],
        "layers": None if layers is None else numbers(layers, int, "--layers"),
        "backend": backend,
        "token_budget": token_budget,
        "tokens": tokens,
        "skip_too_long": skip_too_long,
    }
    given = {name: value for name, value in values.items() if _is_given(context, name)}
    _check_usage(context, config is not None, given)
    flags: dict[str, Any] = {_KEYS[name]: value for name, value in given.items()}
    if "system_prompt" in given:
        flags["dataset.add_system"] = True
    asked = load_extraction(config, tuple(overrides or ()), flags)
    reporter = ConsoleReporter()
    if asked.dataset.system_prompt and not asked.dataset.add_system:
        reporter.note("dataset.system_prompt is not used, as dataset.add_system is false")
    dataset = asked.dataset
    read(
        PairsFile(dataset.path, dataset.chosen_field, dataset.rejected_field, asked.system_prompt),
        asked.model,
        asked.settings,
        asked.output.file,
        reporter,
        store=asked.output,
        existing="overwrite" if overwrite else "refuse",
    )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _check_usage(context: typer.Context, has_config: bool, given: dict[str, Any]) -> None:
    """Refuse a call that does not say what is read.

    Raises:
        typer.BadParameter: no pairs or no model, and no configuration that could name them.
    """
    for name in ("pairs", "model"):
        if not has_config and name not in given:
            raise typer.BadParameter(
                "missing: give it, or a whole configuration with --config.", context, param_hint=f"--{name}"
            )
