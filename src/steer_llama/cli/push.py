"""``steer-llama push``."""

from pathlib import Path
from typing import Annotated

import typer


def push(
    vector: Annotated[Path, typer.Argument(help="A vector.safetensors.")],
    repo_id: Annotated[str, typer.Argument(metavar="REPO_ID", help="owner/name on the hub; made if it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Make it private; refused where it is public.")] = False,
    message: Annotated[str, typer.Option(help="Of the commit; default: the trait's name.")] = "",
) -> None:
    """Upload a vector to the Hugging Face hub, with a card made from its evidence. Needs HF_TOKEN."""
    from steer_llama.progress import ConsoleReporter
    from steer_llama.stages.push import push as upload

    upload(vector, repo_id, ConsoleReporter(), private=private, message=message)
