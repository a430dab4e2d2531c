"""Vectors on the Hugging Face hub: the only module that talks to it about them.

The token is the environment's (``HF_TOKEN``, or what ``hf auth login`` keeps), and so is the hub (``HF_ENDPOINT``).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, get_token, hf_hub_url
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from steer_llama.errors import ConfigError, EndpointError, FileError, SteerLlamaError
from steer_llama.vectors.cards import hub_id

_HUB = "https://huggingface.co"
MOST_BYTES = 1 << 30
"""Of a vector's file. (80 layers of width 8,192 are 2.6 MB.)"""


@dataclass(frozen=True)
class Uploaded:
    """What is on the hub now."""

    url: str
    commit: str


@dataclass(frozen=True)
class Downloaded:
    """A file from the hub."""

    path: Path
    commit: str


def check_repo_id(repo_id: str) -> None:
    """Refuse what cannot be a repository.

    Raises:
        ConfigError: it is not ``owner/name``.
    """
    if hub_id(repo_id) is None:
        raise ConfigError(f"{repo_id!r} is no repository: expected owner/name, e.g. ada/emoji-vector.")


def upload(repo_id: str, files: Mapping[str, Path | bytes], *, private: bool, message: str) -> Uploaded:
    """Put files into a model repository as one commit; the repository is made where it does not exist.

    Args:
        repo_id: ``owner/name``.
        files: content by path in the repository.
        private: make the repository private, or be sure that it is.
        message: of the commit.

    Raises:
        ConfigError: the name, the token or its rights are wrong, or the repository is public and should not be.
        EndpointError: the hub cannot be reached, or failed.
    """
    check_repo_id(repo_id)
    if get_token() is None:
        raise ConfigError("the hub wants a token to write: set HF_TOKEN, or log in with `hf auth login`.")
    api = _api()
    with _explained(repo_id, api.endpoint):
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        # A repository that was there keeps its visibility, whatever was asked for.
        if private and not api.model_info(repo_id).private:
            raise ConfigError(
                f"{repo_id} exists and is public, and --private was given. Nothing was uploaded: make it private on "
                "the hub first, or choose another name."
            )
        operations = [
            CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
            for name, content in files.items()
        ]
        commit = api.create_commit(repo_id, operations, commit_message=message)
    return Uploaded(f"{api.endpoint}/{repo_id}", commit.oid)


def download(repo_id: str, filename: str, revision: str | None, folder: Path) -> Downloaded:
    """Fetch one file of a model repository into ``folder``, without the cache: what the hub has now, or an error.

    Raises:
        ConfigError: the name or the revision is wrong, or the token is refused.
        FileError: there is no such repository (for this token) or file, or the file is far too large.
        EndpointError: the hub cannot be reached, or failed.
    """
    check_repo_id(repo_id)
    api = _api()
    with _explained(repo_id, api.endpoint, filename, revision):
        found = api.get_hf_file_metadata(url=_url(api, repo_id, filename, revision), token=get_token())
        if found.size is not None and found.size > MOST_BYTES:
            raise FileError(
                f"{repo_id}: {filename} has {found.size:,} bytes, which no vector has. Nothing was fetched."
            )
        path = api.hf_hub_download(repo_id, filename, revision=found.commit_hash or revision, local_dir=folder)
    return Downloaded(Path(path), found.commit_hash or "")


def _url(api: HfApi, repo_id: str, filename: str, revision: str | None) -> str:
    return hf_hub_url(repo_id, filename, revision=revision, endpoint=api.endpoint)


def _api() -> HfApi:
    # Read now, and not when the library was imported.
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HUB, library_name="steer-llama")


@contextmanager
def _explained(repo_id: str, endpoint: str, filename: str = "", revision: str | None = None) -> Iterator[None]:
    """Turn what the library raises into a sentence that says what to do."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, httpx2.HTTPError) as error:
        # The library wraps what happened: in threads, and where it looked for a cached file afterwards.
        wrapped = isinstance(error, (RuntimeError, LocalEntryNotFoundError)) and isinstance(error.__cause__, Exception)
        cause = error.__cause__ if wrapped and isinstance(error.__cause__, Exception) else error
        told = _about_the_repository(cause, repo_id, endpoint, filename, revision) or _about_the_hub(cause, endpoint)
        if told is None:
            raise
        raise told from error


def _about_the_repository(
    error: Exception, repo_id: str, endpoint: str, filename: str, revision: str | None
) -> SteerLlamaError | None:
    # From the special to the general: all are HfHubHTTPErrors, and a gated repository is one not found.
    match error:
        case RevisionNotFoundError():
            return ConfigError(f"{repo_id} has no revision {revision!r}. Give a branch, a tag or a commit.")
        case RemoteEntryNotFoundError():
            return FileError(
                f"{repo_id} holds no {filename}, so it is no vector that `steer-llama push` made. Look at "
                f"{endpoint}/{repo_id}/tree/main."
            )
        case GatedRepoError():
            return ConfigError(
                f"{repo_id} is gated: ask for access at {endpoint}/{repo_id}, and set HF_TOKEN to a token of that "
                "account."
            )
        case RepositoryNotFoundError():
            return FileError(
                f"{endpoint} has no repository {repo_id}, or not one that {_who()} may see. Check the name; for a "
                "private one, set HF_TOKEN to a token that may read it."
            )
        case HfHubHTTPError():
            return _refused(error, repo_id)
    return None


def _refused(error: HfHubHTTPError, repo_id: str) -> SteerLlamaError:
    status = error.response.status_code
    told = f" ({' '.join(error.server_message.split())[:200]})" if error.server_message else ""
    if status == 401:
        return ConfigError(f"{repo_id}: the hub does not accept {_who()}{told}. Set HF_TOKEN to a valid token.")
    if status == 403:
        return ConfigError(
            f"{repo_id}: {_who()} may not do that there{told}. Use a token with the right to write to this account's "
            "repositories, or another owner."
        )
    return EndpointError(f"{repo_id}: the hub answered {status}{told}. Try again later.")


def _about_the_hub(error: Exception, endpoint: str) -> SteerLlamaError | None:
    match error:
        case LocalEntryNotFoundError() | OfflineModeIsEnabled() | FileMetadataError() | httpx2.HTTPError():
            return EndpointError(f"{endpoint}: cannot be reached, or is no hub ({_short(error)}).")
        case UnicodeEncodeError():
            return ConfigError("the token holds characters that no token has. Look at HF_TOKEN.")
        case HFValidationError():
            return ConfigError(f"no name of a repository: {_short(error)}")
        case ValueError() | KeyError():
            return EndpointError(f"{endpoint}: its answer makes no sense ({_short(error)}); is it a hub?")
    return None


def _who() -> str:
    return "somebody without a token" if get_token() is None else "the owner of this token"


def _short(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
