"""The command line: one verb a stage. Errors become a sentence and an exit code, never a traceback."""

import os
import sys
import traceback
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from steer_llama.cli.demo import demo
from steer_llama.cli.extract import extract
from steer_llama.cli.filter import filter_pairs
from steer_llama.cli.fit import fit
from steer_llama.cli.generate import generate
from steer_llama.cli.judge import judge
from steer_llama.cli.merge import merge
from steer_llama.cli.report import report
from steer_llama.cli.respond import respond
from steer_llama.cli.run import run
from steer_llama.cli.sweep import sweep
from steer_llama.errors import SteerLlamaError, StorageError
from steer_llama.files import storage_reason
from steer_llama.progress import quiet_libraries

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it (128 + SIGINT)."""

app = typer.Typer(
    name="steer-llama",
    help="Give an open-weights chat model another model's style with a steering vector, and prove that it works.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or input, 130 stopped with Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_WHOLE, _STAGES, _USE = "The whole way", "One stage at a time", "Use it"
app.command(rich_help_panel=_WHOLE)(demo)
app.command(rich_help_panel=_WHOLE)(run)
app.command(rich_help_panel=_STAGES)(respond)
app.command(rich_help_panel=_STAGES)(judge)
app.command("filter", rich_help_panel=_STAGES)(filter_pairs)
app.command(rich_help_panel=_STAGES)(merge)
app.command(rich_help_panel=_STAGES)(extract)
app.command(rich_help_panel=_STAGES)(fit)
app.command(rich_help_panel=_STAGES)(sweep)
app.command(rich_help_panel=_STAGES)(report)
app.command(rich_help_panel=_USE)(generate)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"steer-llama {version('steer-llama')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    quiet_libraries()
    try:
        app()
    except SteerLlamaError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last resort: a user gets a sentence, whatever happened
        _unexpected(error)
    sys.exit(0)


def _unexpected(error: Exception) -> NoReturn:
    if isinstance(error, OSError) and (reason := storage_reason(error)):
        _say(f"cannot write {error.filename or 'a file'}: {reason}")
        sys.exit(StorageError.exit_code)
    if os.environ.get("STEER_LLAMA_TRACEBACK"):
        traceback.print_exception(error)
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        _say("out of memory. Lower the batch size, use --dtype bfloat16, or spread the layers with --n-devices.")
    else:
        _say(
            f"unexpected {type(error).__name__}: {error}. This is a fault of steer-llama: please report it, with what "
            "STEER_LLAMA_TRACEBACK=1 shows. What was finished before is kept."
        )
    sys.exit(1)


def _say(text: str) -> None:
    Console(stderr=True).print(Text.assemble(("error: ", "bold red"), text), soft_wrap=True)
