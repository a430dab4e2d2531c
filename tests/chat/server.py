"""A chat server on this machine that answers by a script: a real socket, so that the real client is tested."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


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


@contextmanager
def serve(script: Script) -> Iterator[ChatServer]:
    chat = ChatServer(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = chat.handle(body, self.headers.get("Authorization"))
            text = isinstance(answer.body, str)
            data = answer.body.encode() if text else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/html" if text else "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
