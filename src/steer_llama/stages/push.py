"""``push``: a vector and its card to a repository on the Hugging Face hub."""

from pathlib import Path

from steer_llama.errors import FileError
from steer_llama.progress import Reporter
from steer_llama.stages.vector_files import read_any
from steer_llama.vectors.cards import vector_card
from steer_llama.vectors.hub import Uploaded, upload

VECTOR_FILE, CARD_FILE = "vector.safetensors", "README.md"
"""What a vector's repository holds."""


def push(path: Path, repo_id: str, reporter: Reporter, *, private: bool = False, message: str = "") -> Uploaded:
    """Upload a vector in steer-llama's own format, with a card made from its evidence, as one commit.

    Raises:
        FileError: the file is no vector of ours.
        VectorError: its content is no vector.
        ConfigError: the repository's name, the token or its rights are wrong.
        EndpointError: the hub cannot be reached, or failed.
    """
    reading = read_any(path)
    if reading.format != "steer-llama":
        raise FileError(
            f"{path}: is a file of {reading.format}; what is pushed is steer-llama's own format. Write it first: "
            f"`steer-llama convert {path} vector.safetensors`."
        )
    vector = reading.vector
    files: dict[str, Path | bytes] = {VECTOR_FILE: path, CARD_FILE: vector_card(vector, repo_id).encode()}
    message = message or f"Steering vector {vector.trait}".strip()
    uploaded = upload(repo_id, files, private=private, message=message)
    reporter.note(f"{uploaded.url} has the vector and its card (commit {uploaded.commit[:12]})")
    return uploaded
