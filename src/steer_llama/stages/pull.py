"""``pull``: a vector from a repository on the Hugging Face hub."""

import shutil
import tempfile
from pathlib import Path

from steer_llama.errors import ConfigError, InputError
from steer_llama.files import atomic_path, check_output, storage_errors
from steer_llama.progress import Reporter
from steer_llama.stages.push import VECTOR_FILE
from steer_llama.stages.vector_files import check_ours
from steer_llama.vectors import SteeringVector, read_vector
from steer_llama.vectors.hub import check_repo_id, download


def pull(repo_id: str, out: Path, reporter: Reporter, *, revision: str | None = None) -> SteeringVector:
    """Download a vector; the file is read as what anybody may have uploaded, and kept only if it is a vector.

    Raises:
        ConfigError: ``out`` is another file, or the repository's name, the revision or the token is wrong.
        FileError: there is no such repository or file, or it is no vector.
        VectorError: its content is no vector.
        EndpointError: the hub cannot be reached, or failed.
        StorageError: the place cannot be written.
    """
    check_repo_id(repo_id)
    check_ours(out)
    check_output(out)
    with storage_errors(out), tempfile.TemporaryDirectory(prefix="steer-llama-pull-") as folder:
        fetched = download(repo_id, VECTOR_FILE, revision, Path(folder))
        try:
            vector = read_vector(fetched.path)
        except InputError as error:
            said = str(error).removeprefix(f"{fetched.path}: ")
            raise type(error)(f"{repo_id}: its {VECTOR_FILE} was not kept: {said}") from error
        if out.exists() and out.read_bytes() != fetched.path.read_bytes():
            raise ConfigError(f"{out} exists and is another file. Name another one with -o, or remove it.")
        with atomic_path(out) as temporary:
            shutil.copyfile(fetched.path, temporary)
    reporter.note(f"wrote {out}: {_told(vector)} ({repo_id}, commit {fetched.commit[:12]})")
    verdict = vector.evidence.get("verdict")
    if isinstance(verdict, dict) and isinstance(verdict.get("sentence"), str):
        reporter.note(verdict["sentence"])
    else:
        reporter.note("no sweep has tested it, as far as the file says")
    return vector


def _told(vector: SteeringVector) -> str:
    where = f"{vector.trait or 'a vector'} for {vector.model or 'a model that it does not name'}"
    if vector.recommended_layer is None or vector.recommended_strength is None:
        return f"{where}, which recommends nothing yet"
    return f"{where}, layer {vector.recommended_layer}, strength {vector.recommended_strength:g}"
