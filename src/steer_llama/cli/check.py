"""``steer-llama check``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from steer_llama.cli.options import Overrides

if TYPE_CHECKING:
    from steer_llama.chat import Finding
    from steer_llama.stages.check import Checked
    from steer_llama.stages.forecast import Load


def check(
    config: Annotated[Path, typer.Argument(help="The run's configuration (YAML).")],
    overrides: Overrides = None,
) -> None:
    """Ask every endpoint one question: latency, what it can do, and what the run will cost in calls and tokens."""
    from steer_llama.config import load_config
    from steer_llama.errors import ConfigError, EndpointError, InputError
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.check import check as ask
    from steer_llama.stages.elicit import author_of, elicit
    from steer_llama.stages.forecast import exceeded, forecast, total

    settings = load_config(config, tuple(overrides or ()))
    elicitation = None if author_of(settings) else elicit(settings).elicitation
    checked = ask(settings, ConsoleReporter())
    console = Console()
    for one in checked:
        console.print(_facts(one))
    local = [arm.name for arm in (settings.source, settings.target) if arm.kind != "openai"]
    if local:
        console.print(Text(f"no server behind {' and '.join(local)}: nothing to ask there"))
    by_digits = {name for one in checked for name in one.names if one.probe and one.probe.numbers == "digits"}
    loads = forecast(settings, elicitation, by_digits.__contains__)
    if loads:
        console.print(_loads([*loads, total(loads)]))
        console.print("Answers are counted at their longest; retries and repairs come on top.", style="dim")
    for line in exceeded(settings, total(loads)):
        console.print(Text(f"{line}: it would stop there, and could go on with more", style="yellow"), soft_wrap=True)
    if failed := [name for one in checked if one.error for name in one.names]:
        told = f"{', '.join(failed)}: no answer, for the reason above. Mend that before you run it."
        ours = all(isinstance(one.error, InputError) for one in checked if one.error)
        raise ConfigError(told) if ours else EndpointError(told)


def _facts(one: "Checked") -> Table:
    title = Text.assemble((", ".join(one.names), "bold"), f": {one.settings.model} at {one.address}")
    table = Table(box=None, padding=(0, 2, 0, 2), show_header=False, title=title, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    probe = one.probe
    if probe is None:
        table.add_row(Text("failed", style="red"), Text(str(one.error or "")))
        return table
    table.add_row("latency", f"{probe.latency:.2f} s" + (", most of it thoughts" if probe.thinks else ""))
    table.add_row("structured output", _finding(probe.structured))
    table.add_row("logprobs", _finding(probe.logprobs))
    if probe.numbers != "unknown":
        how = {"whole": "75 is one token", "digits": "75 is two tokens: a judgement takes several calls"}
        table.add_row("numbers", how[probe.numbers])
    table.add_row("continues an answer", _finding(probe.continues))
    table.add_row("seeds", _finding(probe.seeds))
    return table


def _finding(finding: "Finding") -> Text:
    return Text.assemble(("yes", "green") if finding.works else ("no", "red"), f": {finding.seen}")


def _loads(loads: "list[Load]") -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title="the run", title_justify="left")
    table.add_column("stage")
    table.add_column("endpoint")
    for title in ("calls", "prompt tokens", "answer tokens, at most", "cost, at most"):
        table.add_column(title, justify="right")
    for load in loads:
        numbers = (f"{load.calls:,}", f"{load.prompt_tokens:,}", f"{load.completion_tokens:,}")
        cost = "" if load.cost is None else f"{load.cost:.2f}"
        table.add_row(load.stage, load.endpoint, *numbers, cost, style="bold" if load.stage == "all" else "")
    return table
