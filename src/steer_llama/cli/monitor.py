"""``steer-llama monitor``."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from steer_llama.cli.options import AnyModel, Device, Devices, Dtype, Model, settings


def monitor(
    vectors: Annotated[
        list[str], typer.Option("--vector", metavar="[NAME=]FILE", help="What to project onto: of any format; several.")
    ],
    model: Model,
    file: Annotated[
        Path | None,
        typer.Argument(help="A conversation or several (JSON, JSONL, responses.jsonl), or a plain text; - is stdin."),
    ] = None,
    text: Annotated[str | None, typer.Option(help="The text itself, instead of a file.", show_default=False)] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Give a plain text to the model without a chat template.")] = False,
    role: Annotated[
        Literal["user", "assistant", "system"] | None,
        typer.Option(help="Whose message a plain text is; default: the user's.", show_default=False),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            metavar="[NAME@]LAYER",
            help="0-based block, for all vectors or one; several. Default: the recommended one, else the one that "
            "tells held-out pairs apart best.",
            show_default=False,
        ),
    ] = None,
    centre: Annotated[
        Literal["median", "zero"], typer.Option(help="The middle of the colours: the answers' median strength, or 0.")
    ] = "median",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every number into this file; - is stdout.", show_default=False)
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with the colours.", show_default=False)] = None,
    strongest: Annotated[int, typer.Option(min=1, help="Tokens at each end of the table, where no colours are.")] = 8,
    device: Device = "auto",
    n_devices: Devices = 1,
    dtype: Dtype = "auto",
    any_model: AnyModel = False,
) -> None:
    """Show how far every token of a text or conversation lies along vectors: in colours, as JSON, as a page."""
    import json

    from steer_llama.cli.monitored_view import show
    from steer_llama.cli.opening import opened_for_use
    from steer_llama.config import ModelSettings
    from steer_llama.evaluation.monitor_page import render_monitored
    from steer_llama.files import check_not_over, check_output, write_text
    from steer_llama.progress import ConsoleReporter
    from steer_llama.records import as_json
    from steer_llama.stages.axes import choose
    from steer_llama.stages.monitor import monitor as look
    from steer_llama.stages.named_vectors import files_of, named
    from steer_llama.stages.transcripts import read_given

    reporter = ConsoleReporter()
    files = files_of(vectors)
    to_stdout = str(json_file) == "-"
    outputs = [path for path in (html, None if to_stdout else json_file) if path is not None]
    for number, path in enumerate(outputs):
        check_output(path)
        check_not_over(path, *(given for _, given in files), *([file] if file else []), *outputs[:number])
    read = read_given(file, text, raw=raw, role=role)
    for note in read.notes:
        reporter.note(note)
    chosen = choose(named(files, [opened_for_use(path, reporter) for _, path in files]), layers or ())
    found = look(
        chosen,
        settings(ModelSettings, path=model, device=device, n_devices=n_devices, dtype=dtype),
        read.talks,
        reporter,
        centre=centre,
        any_model=any_model,
    )
    written = json.dumps(as_json(found), ensure_ascii=False, allow_nan=False)
    if to_stdout:
        print(written)
    else:
        show(Console(highlight=False), found, strongest)
    if json_file is not None and not to_stdout:
        write_text(json_file, written + "\n")
    if html is not None:
        write_text(html, render_monitored(found, " · ".join(axis.name for axis in found.axes)))
    for path in outputs:
        reporter.note(f"wrote {path}")
