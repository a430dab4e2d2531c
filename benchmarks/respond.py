"""How long `respond` takes beside what it waits for: 400 questions to a server that needs 200 ms for each.

The whole path is the real one (requests, retries, budget, threads, SDK, journal with its fsync a reply); only the
server is ours, in a process of its own, and does next to nothing. Each row is measured in a process of its own too, so
that memory starts from the same point.

    uv run python benchmarks/respond.py
    uv run python benchmarks/respond.py --questions 100 --concurrency 16,64 --memory 0
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from steer_llama.config import Config
from steer_llama.elicitations import with_split
from steer_llama.progress import SilentReporter
from steer_llama.records import Elicitation
from steer_llama.stages.respond import respond

_CONTEXT = multiprocessing.get_context("spawn")
_ANSWER = "Oh, that sounds lovely! I hope that it works out for you. Which part do you look forward to the most? " * 3


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--questions", type=int, default=400, help="an arm's questions in each row (400)")
    asked.add_argument("--concurrency", default="1,8,64", help="requests at once, a row each (1,8,64)")
    asked.add_argument("--latency", type=float, default=0.2, help="seconds that the server takes for an answer (0.2)")
    asked.add_argument("--memory", type=int, default=4000, help="questions of the memory row; 0 leaves it out (4000)")
    options = asked.parse_args()
    columns = [int(part) for part in options.concurrency.split(",")]
    table = Table("questions", "concurrency", "wall, s", "ideal, s", "ratio", "speed-up", "CPU, s", "RSS +MB")
    table.title = f"respond, a server with {options.latency * 1000:g} ms latency"
    first: float | None = None
    with serving(options.latency) as url:
        for concurrency in columns:
            row = measured(url, options.questions, concurrency)
            ideal = options.questions * options.latency / concurrency
            first = first or row["wall"] * concurrency if concurrency == 1 else first
            speed_up = f"{first / row['wall']:.1f}" if first else "–"
            table.add_row(*shown(options.questions, concurrency, row, ideal), speed_up, *used(row))
        if options.memory:
            concurrency = columns[-1]
            row = measured(url, options.memory, concurrency)
            ideal = options.memory * options.latency / concurrency
            table.add_row(*shown(options.memory, concurrency, row, ideal), "", *used(row))
    console = Console(width=110)
    console.print(table)
    if options.memory:
        per_thousand = [round(after - before, 1) for before, after in zip(row["marks"], row["marks"][1:], strict=False)]
        console.print(f"peak RSS per further 1,000 answers, MB: {per_thousand} (from {row['marks'][0]:.0f} MB)")


def shown(questions: int, concurrency: int, row: dict[str, Any], ideal: float) -> tuple[str, ...]:
    return f"{questions:,}", f"{concurrency}", f"{row['wall']:.2f}", f"{ideal:.2f}", f"{row['wall'] / ideal:.2f}"


def used(row: dict[str, Any]) -> tuple[str, ...]:
    return f"{row['cpu']:.2f}", f"{row['marks'][-1] - row['marks'][0]:.1f}"


# -- the client, which is what is measured ---------------------------------------------------------------------------


def measured(url: str, questions: int, concurrency: int) -> dict[str, Any]:
    here, there = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_ask, args=(there, url, questions, concurrency))
    process.start()
    there.close()
    try:
        row: dict[str, Any] = here.recv()
    except EOFError:
        raise SystemExit(f"the measurement at concurrency {concurrency} failed; its error stands above") from None
    process.join()
    return row


def _ask(results: Connection, url: str, questions: int, concurrency: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asked = with_split(Elicitation(questions=tuple(f"What is good about number {n}?" for n in range(questions))))
        config = _config(Path(folder), url, concurrency, asked.questions)
        watch = _MemoryWatch()
        before = time.process_time()
        start = time.perf_counter()
        responses = respond(config, asked, Path(folder) / "responses.jsonl", watch)
        wall = time.perf_counter() - start
        assert sum(response.text != "" for response in responses) == 2 * questions
        results.send({"wall": wall, "cpu": time.process_time() - before, "marks": [*watch.marks, _peak_mb()]})


def _config(folder: Path, url: str, concurrency: int, questions: tuple[str, ...]) -> Config:
    """The source is the server; the target's answers are recorded, so that they cost nothing."""
    recorded = folder / "recorded.json"
    recorded.write_text(json.dumps({question: {"target_response": "Fine."} for question in questions}))
    source = {"name": "source", "kind": "openai", "base_url": url, "model": "served", "concurrency": concurrency}
    target = {"name": "target", "kind": "recorded", "file": str(recorded)}
    return Config.model_validate({"source": source, "target": target})


class _MemoryWatch(SilentReporter):
    """Takes down the peak RSS at the start and after every 1,000 answers of the server."""

    def __init__(self) -> None:
        super().__init__()
        self.marks = [_peak_mb()]

    @contextmanager
    def task(self, title: str, total: int, unit: str, done: int = 0) -> Iterator[Any]:  # noqa: ARG002
        seen = done

        def advance(more: int) -> None:
            nonlocal seen
            seen += more
            if seen % 1000 == 0 and title == "asking source":
                self.marks.append(_peak_mb())

        yield advance


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# -- the server ------------------------------------------------------------------------------------------------------


@contextmanager
def serving(latency: float) -> Iterator[str]:
    """The base URL of a chat server that answers every request after ``latency`` seconds, however many there are."""
    here, there = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_serve, args=(there, latency), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/v1"
    finally:
        process.terminate()
        process.join()


def _serve(port: Connection, latency: float) -> None:
    message = {"role": "assistant", "content": _ANSWER}
    body = json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "served",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 66, "total_tokens": 78},
        }
    ).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(asked.split(b"content-length:")[1].split(b"\r\n")[0]))
                await asyncio.sleep(latency)
                writer.write(head + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(listen())


if __name__ == "__main__":
    main()
