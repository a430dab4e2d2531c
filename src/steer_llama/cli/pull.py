"""``steer-llama pull``."""

from pathlib import Path
from typing import Annotated

import typer


def pull(
    repo_id: Annotated[str, typer.Argument(metavar="REPO_ID", help="owner/name on the hub.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The vector to write.")] = Path("vector.safetensors"),
    revision: Annotated[str | None, typer.Option(help="A branch, a tag or a commit; default: main.")] = None,
) -> None:
    """Download a vector from the Hugging Face hub → vector.safetensors."""
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.pull import pull as fetch

    fetch(repo_id, out, ConsoleReporter(), revision=revision)
