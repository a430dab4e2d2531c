"""The command line: one verb a stage. Errors become a sentence and an exit code, never a traceback."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from steer_llama.cli.check import check
from steer_llama.cli.combine import combine
from steer_llama.cli.compare import compare
from steer_llama.cli.convert import convert
from steer_llama.cli.demo import demo
from steer_llama.cli.elicit import elicit
from steer_llama.cli.export import export
from steer_llama.cli.extract import extract
from steer_llama.cli.filter import filter_pairs
from steer_llama.cli.fit import fit
from steer_llama.cli.generate import generate
from steer_llama.cli.inspect import inspect
from steer_llama.cli.judge import judge
from steer_llama.cli.merge import merge
from steer_llama.cli.monitor import monitor
from steer_llama.cli.plan import plan
from steer_llama.cli.pull import pull
from steer_llama.cli.push import push
from steer_llama.cli.report import report
from steer_llama.cli.respond import respond
from steer_llama.cli.run import run
from steer_llama.cli.sweep import sweep
from steer_llama.cli.tune import tune
from steer_llama.errors import SteerLlamaError, StorageError
from steer_llama.files import storage_reason
from steer_llama.progress import tame_libraries

_SIGNALLED = 128
"""Exit code after a signal, as shells have it: 130 for Ctrl-C (SIGINT), 143 for SIGTERM."""

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


def _add(panel: str, verb: Callable[..., None], example: str, name: str | None = None) -> None:
    app.command(name, rich_help_panel=panel, epilog=f"Example: steer-llama {example}")(verb)


_add(_WHOLE, demo, "demo -o out/demo --trait emoji")
_add(_WHOLE, run, "run my.yaml -o out/my --set sweep.strengths=[0.1,0.2]")
_add(_WHOLE, check, "check my.yaml")
_add(_STAGES, elicit, "elicit traits/playful.json -c my.yaml -o out/playful")
_add(_STAGES, respond, "respond -c my.yaml -o responses.jsonl")
_add(_STAGES, judge, "judge -c my.yaml --elicitation elicitation.json --responses responses.jsonl -o results.json")
_add(_STAGES, compare, "compare results.json other/results.json --metric emoji")
_add(_STAGES, filter_pairs, "filter results.json --threshold 40 -o filtered.json", "filter")
_add(_STAGES, merge, "merge emoji.json playful.json -o both.json --keep first")
_add(_STAGES, extract, "extract --pairs filtered.json -m path/to/llama -o activations.h5")
_add(_STAGES, fit, "fit activations.h5 --positions emoji --trait emoji -o vector.safetensors")
_add(_STAGES, sweep, "sweep vector.safetensors -m path/to/llama --elicitation emoji -o sweep.jsonl")
_add(
    _STAGES,
    tune,
    "tune -m smollm2 --vector emoji=a.safetensors --vector formatting=b.safetensors --elicitation emoji "
    "--responses responses.jsonl -o steers.json",
)
_add(_STAGES, report, "report sweep.jsonl --vector vector.safetensors -o report.html")
_add(_USE, plan, "plan --model llama-3.3-70b --gpus 8xH100 --pairs 1000")
_add(_USE, inspect, "inspect vector.safetensors --png vector.png")
_add(
    _USE,
    combine,
    "combine 'emoji + 0.5*playful' --vector emoji=a.safetensors --vector playful=b.gguf -o mix.safetensors",
)
_add(_USE, generate, "generate 'How are you?' -m path/to/llama --vector vector.safetensors --strength 0.2")
_add(_USE, monitor, "monitor conversation.json -m path/to/llama --vector vector.safetensors --html monitor.html")
_add(_USE, export, "export vector.safetensors --to vllm-lens --layer 12 --strength 0.2 -o steering.json")
_add(_USE, convert, "convert steering_vectors.pt vector.safetensors")
_add(_USE, push, "push vector.safetensors ada/emoji-vector --private")
_add(_USE, pull, "pull ada/emoji-vector -o emoji.safetensors")


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


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM. Not `KeyboardInterrupt`, for which every version of typer has an exit code of its own."""


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    tame_libraries()
    try:
        with _stoppable():
            app()
    except SteerLlamaError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except (_Stopped, KeyboardInterrupt) as error:
        number = error.args[0] if error.args else signal.SIGINT
        print("stopped. What was finished is kept: the same command goes on from there.", file=sys.stderr)
        sys.exit(_SIGNALLED + number)
    except Exception as error:  # noqa: BLE001 - the last resort: a user gets a sentence, whatever happened
        _unexpected(error)
    sys.exit(0)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let signals end the work through its ``finally`` blocks; a second one ends the process at once."""
    # What a shell told us to ignore (nohup, a job in the background) stays ignored.
    wanted = [name for name in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(name) is not signal.SIG_IGN]

    def stop(number: int, _frame: object) -> None:
        for name in wanted:
            signal.signal(name, signal.SIG_DFL)
        raise _Stopped(number)

    before = {name: signal.signal(name, stop) for name in wanted}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _unexpected(error: Exception) -> NoReturn:
    if reason := storage_reason(error):
        _say(f"cannot write {getattr(error, 'filename', None) or 'a file'}: {reason}")
        sys.exit(StorageError.exit_code)
    if os.environ.get("STEER_LLAMA_TRACEBACK"):
        traceback.print_exception(error)
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        _say(
            "out of memory. Lower --batch-size or (extract) --token-budget, use --dtype bfloat16, or spread the layers "
            "with --n-devices."
        )
    else:
        _say(
            f"unexpected {type(error).__name__}: {error}. This is a fault of steer-llama: please report it, with what "
            "STEER_LLAMA_TRACEBACK=1 shows. What was finished before is kept."
        )
    sys.exit(1)


def _say(text: str) -> None:
    Console(stderr=True).print(Text.assemble(("error: ", "bold red"), text), soft_wrap=True)
