"""push and pull against a stand-in for the hub, over HTTP."""

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import save

from steer_llama.vectors import read_vector, write_vector
from tests.cli.command import Ran, steer_llama
from tests.vectors.hub_server import OWNER, TOKEN, Hub, Repo, running_hub
from tests.vectors.test_vector import vector

REPO = f"{OWNER}/emoji-vector"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    for name in [name for name in os.environ if "proxy" in name.lower()]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with running_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_vector(tmp_path / "v.safetensors", vector(trait="emoji", recommended_layer=7, recommended_strength=0.2))
    return tmp_path / "v.safetensors"


def failed(ran: Ran, code: int, *said: str) -> None:
    assert ran.code == code, ran.err
    for piece in said:
        assert piece in ran.said
    assert "Traceback" not in ran.err
    assert TOKEN not in ran.err


@pytest.mark.parametrize("mode", ["regular", "lfs"])
def test_there_and_back(mode: str, hub: Hub, path: Path, tmp_path: Path) -> None:
    hub.mode = mode
    ran = steer_llama("push", path, REPO, "--message", "first try")
    assert ran.code == 0, ran.err
    assert f"{hub.url}/{REPO} has the vector" in ran.said
    repo = hub.repos[REPO]
    assert not repo.private
    assert repo.commits == [{"summary": "first try", "files": repo.commits[0]["files"]}], "one commit"
    assert set(repo.files) == {"vector.safetensors", "README.md"}
    assert repo.in_lfs == ({"vector.safetensors"} if mode == "lfs" else set())
    assert repo.files["vector.safetensors"] == path.read_bytes()
    card = ModelCard(repo.files["README.md"].decode())
    assert "steering-vector" in card.data.get("tags")
    assert f"steer-llama pull {REPO}" in card.text
    out = tmp_path / "new" / "pulled.safetensors"
    ran = steer_llama("pull", REPO, "-o", out)
    assert ran.code == 0, ran.err
    assert out.read_bytes() == path.read_bytes()
    assert "emoji for" in ran.said
    assert "layer 7, strength 0.2" in ran.said
    assert repo.sha[:12] in ran.said
    assert [item.name for item in out.parent.iterdir()] == [out.name]


def test_again_and_revisions(hub: Hub, path: Path, tmp_path: Path) -> None:
    assert steer_llama("push", path, REPO).code == 0
    first = hub.repos[REPO].sha
    write_vector(path, replace(read_vector(path), recommended_strength=0.3))
    assert steer_llama("push", path, REPO).code == 0, "a repository that is there is used"
    assert [commit["summary"] for commit in hub.repos[REPO].commits] == ["Steering vector emoji"] * 2
    out = tmp_path / "out.safetensors"
    assert steer_llama("pull", REPO, "-o", out, "--revision", hub.repos[REPO].sha).code == 0
    assert read_vector(out).recommended_strength == 0.3
    assert steer_llama("pull", REPO, "-o", out).code == 0, "the same file once more"
    failed(steer_llama("pull", REPO, "-o", out, "--revision", "v9"), 2, "no revision 'v9'")
    (tmp_path / "mine").write_text("mine")
    failed(steer_llama("pull", REPO, "-o", tmp_path / "mine"), 2, "is another file")
    assert (tmp_path / "mine").read_text() == "mine"
    assert first != hub.repos[REPO].sha


def test_private(hub: Hub, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert steer_llama("push", path, REPO, "--private").code == 0
    assert hub.repos[REPO].private
    assert steer_llama("push", path, REPO, "--private").code == 0
    assert steer_llama("pull", REPO, "-o", tmp_path / "out").code == 0
    monkeypatch.delenv("HF_TOKEN")
    failed(steer_llama("pull", REPO, "-o", tmp_path / "other"), 2, f"no repository {REPO}", "HF_TOKEN")
    assert not (tmp_path / "other").exists()
    # What is public already does not become private by a flag, so nothing is uploaded.
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.repos[f"{OWNER}/public"] = Repo()
    failed(steer_llama("push", path, f"{OWNER}/public", "--private"), 2, "is public", "Nothing was uploaded")
    assert not hub.repos[f"{OWNER}/public"].files


@pytest.mark.parametrize("repo_id", ["emoji", "a/b/c", "../x", "ada/", "/ada", "ada/x y", "ada/--x", "ada/x.git", ""])
def test_no_repository_names(repo_id: str, hub: Hub, path: Path, tmp_path: Path) -> None:
    failed(steer_llama("push", path, "--", repo_id), 2, "is no repository")
    failed(steer_llama("pull", "-o", tmp_path / "out", "--", repo_id), 2, "is no repository")
    assert not [request for request in hub.requests if "commit" in request]


def test_tokens(hub: Hub, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed(steer_llama("push", path, "somebody-else/x"), 2, "may not do that there", "rights to create")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    wrong = steer_llama("push", path, REPO)
    failed(wrong, 2, "does not accept the owner of this token", "HF_TOKEN")
    assert "hf_wrong" not in wrong.err
    failed(steer_llama("pull", REPO, "-o", tmp_path / "out"), 2, "does not accept")
    monkeypatch.delenv("HF_TOKEN")
    failed(steer_llama("push", path, REPO), 2, "wants a token", "HF_TOKEN", "hf auth login")
    assert not hub.repos


def test_a_token_that_is_none(hub: Hub, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_é")
    failed(steer_llama("push", path, REPO), 2, "the token holds characters", "HF_TOKEN")
    failed(steer_llama("pull", REPO, "-o", tmp_path / "o.safetensors"), 2, "the token holds characters")


@pytest.mark.usefixtures("hub")
def test_files_that_are_not_ours(path: Path, tmp_path: Path) -> None:
    assert steer_llama("convert", path, tmp_path / "v.npz").code == 0
    failed(steer_llama("push", tmp_path / "v.npz", REPO), 2, "is a file of numpy", "steer-llama convert")
    failed(steer_llama("push", tmp_path, REPO), 2, "is a folder")
    failed(steer_llama("pull", REPO, "-o", tmp_path / "o.gguf"), 2, ".safetensors", "steer-llama convert")


def test_what_is_not_there(hub: Hub, path: Path, tmp_path: Path) -> None:
    failed(steer_llama("pull", REPO, "-o", tmp_path / "out"), 2, f"no repository {REPO}")
    hub.repos[REPO] = Repo(files={"README.md": b"hello"})
    failed(steer_llama("pull", REPO, "-o", tmp_path / "out"), 2, "holds no vector.safetensors")
    failed(steer_llama("push", tmp_path / "none", REPO), 2, "no such file")
    failed(steer_llama("push", path.parent, REPO), 2, "is a folder")


def test_what_was_pulled_is_not_trusted(hub: Hub, path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    whole = path.read_bytes()
    broken = replace(vector(), evidence={"pairs": 1})
    write_vector(tmp_path / "b", broken)
    nan = save({"directions": np.full((1, 2), np.nan, np.float32), "layers": np.zeros(1, np.int64)},
               metadata={"format": "steer-llama vector 1"})  # fmt: skip
    for content in (b"", b"hello", whole[:-5], b"\xff" * 8 + whole[8:], save({"w": np.zeros(3, np.float32)}), nan):
        hub.repos[REPO] = Repo(files={"vector.safetensors": content})
        failed(steer_llama("pull", REPO, "-o", out), 2, f"{REPO}: its vector.safetensors was not kept")
        assert not out.exists()
    hub.repos[REPO] = Repo(files={"vector.safetensors": whole})
    hub.sizes["vector.safetensors"] = 5 << 30
    failed(steer_llama("pull", REPO, "-o", out), 2, "which no vector has")
    assert not [request for request in hub.requests if request.startswith("GET") and "resolve" in request][6:]


@pytest.mark.parametrize("piece", ["/create", "/preupload/", "/commit/"])
def test_a_hub_that_refuses(piece: str, hub: Hub, path: Path) -> None:
    hub.fail[piece] = (418, "the hub is a teapot")
    failed(steer_llama("push", path, REPO), 1, "the hub answered 418", "is a teapot")
    assert not (hub.repos.get(REPO) or Repo()).commits


def test_an_lfs_upload_that_fails(hub: Hub, path: Path) -> None:
    hub.mode = "lfs"
    hub.fail["/lfs/"] = (418, "no room")
    failed(steer_llama("push", path, REPO), 1, "the hub answered 418", "no room")
    assert not hub.repos[REPO].files


def test_a_hub_that_is_down(hub: Hub, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.fail["/resolve/"] = (503, "under repair")
    failed(steer_llama("pull", REPO, "-o", tmp_path / "out"), 1, "the hub answered 503", "under repair")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", url)
    failed(steer_llama("pull", REPO, "-o", tmp_path / "out"), 1, url, "cannot be reached")
    failed(steer_llama("push", path, REPO), 1, url, "cannot be reached")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    failed(steer_llama("pull", REPO, "-o", tmp_path / "out"), 1, "cannot be reached")


def test_no_hub_at_all(hub: Hub, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some other web server."""
    hub.repos[REPO] = Repo(files={"vector.safetensors": b"x"})
    monkeypatch.setenv("HF_ENDPOINT", f"{hub.url}/else")
    failed(steer_llama("push", path, REPO), 1, "the hub answered 404")
    ran = steer_llama("pull", REPO, "-o", tmp_path / "out")
    assert ran.code in (1, 2)
    assert "Traceback" not in ran.err
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
