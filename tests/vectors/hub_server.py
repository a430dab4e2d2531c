"""A stand-in for the Hugging Face hub, as far as making a repository, one commit, and fetching a file go.

The paths, bodies, headers and error codes are those that huggingface_hub 2 sends and reads.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_right"
OWNER = "ada"


@dataclass
class Repo:
    private: bool = False
    commits: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    in_lfs: set[str] = field(default_factory=set)

    @property
    def sha(self) -> str:
        return hashlib.sha1(str(len(self.commits)).encode()).hexdigest()


@dataclass
class Hub:
    url: str = ""
    mode: str = "regular"
    """Or ``lfs``: how binary files are to be uploaded."""
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    fail: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Status and message by a piece of the path."""
    sizes: dict[str, int] = field(default_factory=dict)
    """What is said of a file's size, by path, where it is not the truth."""


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, value: Any = None, **headers: str) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", headers.pop("size", str(len(content))))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _error(self, status: int, message: str, code: str = "") -> None:
        more = {"X_Error_Code": code} if code else {}
        self._answer(status, {"error": message}, X_Error_Message=message, **more)

    def _all(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        self.body = self._chunks() if chunked else self.rfile.read(length)
        path = self.path.partition("?")[0]
        self.hub.requests.append(f"{self.command} {path}")
        self.given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        for piece, (status, message) in self.hub.fail.items():
            if piece in path:
                self._error(status, message)
                return
        if self.given and self.given != TOKEN:
            self._error(401, "Invalid credentials in Authorization header")
            return
        for pattern, act in self._routes:
            if found := re.fullmatch(pattern, f"{self.command} {path}"):
                act(self, *found.groups())
                return
        self._error(404, f"no such path {self.command} {path}")

    do_GET = do_HEAD = do_POST = do_PUT = _all

    def _chunks(self) -> bytes:
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _repo(self, repo_id: str) -> Repo | None:
        repo = self.hub.repos.get(repo_id)
        if repo is None or (repo.private and not self.given):
            self._error(*((404, "Repository not found") if self.given else (401, "Invalid username or password.")),
                        code="RepoNotFound")  # fmt: skip
            return None
        return repo

    def _create(self) -> None:
        asked = json.loads(self.body)
        if not self.given:
            self._error(401, "Invalid username or password.")
        elif asked["organization"] != OWNER:
            self._error(403, f"You don't have the rights to create a model under the namespace {asked['organization']}")
        elif (repo_id := f"{asked['organization']}/{asked['name']}") in self.hub.repos:
            self._answer(409, {"url": f"{self.hub.url}/{repo_id}", "error": "You already created this model repo"})
        else:
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.hub.repos[repo_id] = Repo(private)
            self._answer(200, {"url": f"{self.hub.url}/{repo_id}"})

    def _info(self, repo_id: str) -> None:
        if repo := self._repo(repo_id):
            self._answer(200, {"id": repo_id, "private": repo.private, "sha": repo.sha, "siblings": [], "tags": []})

    def _yaml(self) -> None:
        self._answer(200, {"errors": [], "warnings": []})

    def _preupload(self, repo_id: str) -> None:
        if self._repo(repo_id) is None:
            return
        files = [
            {
                "path": file["path"],
                "uploadMode": self.hub.mode if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(self.body)["files"]
        ]
        self._answer(200, {"files": files})

    def _batch(self, repo_id: str) -> None:
        if self._repo(repo_id) is None:
            return
        objects = [
            {**asked, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{asked['oid']}"}}}
            for asked in json.loads(self.body)["objects"]
        ]
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _store(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            self._error(400, "another content than was announced")
            return
        self.hub.blobs[oid] = self.body
        self._answer(200, {})

    def _commit(self, repo_id: str) -> None:
        repo = self._repo(repo_id)
        if repo is None:
            return
        rows = [json.loads(line) for line in self.body.decode().splitlines()]
        made: dict[str, Any] = {"summary": "", "files": []}
        for row in rows:
            value = row["value"]
            if row["key"] == "header":
                made["summary"] = value["summary"]
                continue
            made["files"].append(value["path"])
            if row["key"] == "file":
                assert value["encoding"] == "base64"
                repo.files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert row["key"] == "lfsFile"
                repo.files[value["path"]] = self.hub.blobs[value["oid"]]
                repo.in_lfs.add(value["path"])
        repo.commits.append(made)
        self._answer(200, {"success": True, "commitOid": repo.sha, "commitUrl": f"{self.hub.url}/{repo_id}/commit/x"})

    def _resolve(self, repo_id: str, revision: str, name: str) -> None:
        repo = self._repo(repo_id)
        if repo is None:
            return
        if revision not in ("main", repo.sha):
            self._error(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
        elif name not in repo.files:
            self._error(404, "Entry not found", code="EntryNotFound")
        else:
            content = repo.files[name]
            etag = f'"{hashlib.sha1(content).hexdigest()}"'
            size = str(self.hub.sizes.get(name, len(content)))
            if name in repo.in_lfs:  # the hub sends such files from elsewhere
                oid = hashlib.sha256(content).hexdigest()
                self._answer(302, b"", X_Repo_Commit=repo.sha, X_Linked_ETag=f'"{oid}"', X_Linked_Size=size, ETag=etag,
                             Location=f"{self.hub.url.replace('127.0.0.1', 'localhost')}/lfs/{oid}")  # fmt: skip
            else:
                self._answer(200, content, size=size, X_Repo_Commit=repo.sha, ETag=etag)

    def _blob(self, oid: str) -> None:
        self._answer(200, self.hub.blobs[oid], ETag=f'"{oid}"')

    _routes = (
        (r"POST /api/repos/create", _create),
        (r"POST /api/validate-yaml", _yaml),
        (r"GET /api/models/([^/]+/[^/]+)", _info),
        (r"POST /api/models/([^/]+/[^/]+)/preupload/main", _preupload),
        (r"POST /api/models/([^/]+/[^/]+)/commit/main", _commit),
        (r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch", _batch),
        (r"PUT /lfs/(\w+)", _store),
        (r"(?:HEAD|GET) /lfs/(\w+)", _blob),
        (r"(?:HEAD|GET) /([^/]+/[^/]+)/resolve/([^/]+)/(.+)", _resolve),
    )


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
