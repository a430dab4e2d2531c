"""A chat server on this machine that answers by a script: a real socket, so that the real client is tested."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    content_type: str | None = None
    cut: int | None = None
    """Bytes of the body after which the line breaks."""
    pieces: tuple[str, ...] | None = None
    """A stream of events, instead of a body."""


def said(text: str | None, finish_reason: str = "stop") -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "served",
        "choices": [
            {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}},
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._connections: list[socket.socket] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.append(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        """Die: connections that were kept open end too."""
        super().server_close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """A client that went away (it was killed, or tired of waiting) is part of the tests."""


Script = Callable[[str, int], Answer]
"""Question and how often it was asked before, to the answer."""


class ChatServer:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._under_way = 0
        self.most_under_way = 0
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.base_url = ""
        self.models = Answer(status=404, body={"error": {"message": "no such page"}})
        """What it says when it is asked for its models."""

    def handle(self, body: dict[str, Any], key: str | None) -> Answer:
        question = body["messages"][-1]["content"]
        with self._lock:
            self.bodies.append(body)
            self.keys.append(key)
            self._under_way += 1
            self.most_under_way = max(self.most_under_way, self._under_way)
            before = self._asked[question]
            self._asked[question] += 1
        answer = self._script(question, before)
        time.sleep(answer.seconds)
        with self._lock:
            self._under_way -= 1
        return answer


def streamed(*texts: str, finish_reason: str | None = "stop") -> tuple[str, ...]:
    """The events of a whole streamed answer; without a finish reason it ends before it is whole."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"content": text}, None) for text in texts]
    if finish_reason:
        deltas.append(({}, finish_reason))
    chunks = [
        {
            "id": "1",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "served",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
        for delta, reason in deltas
    ]
    usage = {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "served",
        "choices": [],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }
    return (*(json.dumps(chunk) for chunk in chunks), *([json.dumps(usage), "[DONE]"] if finish_reason else []))


@contextmanager
def serve(script: Script, port: int = 0) -> Iterator[ChatServer]:
    chat = ChatServer(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = chat.handle(body, self.headers.get("Authorization"))
            text = isinstance(answer.body, str)
            data = answer.body.encode() if text else json.dumps(answer.body).encode()
            if answer.pieces is not None:
                data = "".join(f"data: {piece}\n\n" for piece in answer.pieces).encode()
            kind = "text/event-stream" if answer.pieces is not None else "text/html" if text else "application/json"
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type or kind)
            self.send_header("Content-Length", str(len(data)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data[: answer.cut])
            self.close_connection = answer.cut is not None

        def do_GET(self) -> None:
            answer = chat.models
            data = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = _Server(("127.0.0.1", port), Handler)
    chat.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
