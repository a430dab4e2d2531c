"""Whether extraction stays small however many pairs there are: the peak over the loaded model at two numbers of pairs.

Each row is a process of its own that reads short made-up pairs with the real `extract_pairs`: the embedded model up to
300 pairs, and a random Llama of next to no weight (its tokenizer, 3 layers of width 32) up to 3,000, so that it ends
within minutes. The second model shows what grows with the number of pairs, the first what a batch takes.

    uv run python benchmarks/extract_memory.py
    uv run python benchmarks/extract_memory.py --embedded 30 --tiny 30,300,3000
"""

import argparse
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from peers.memory import forget_peak, peak_mb, resident_mb
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from turns.environments import THREADS

from steer_llama.activations import extract_pairs
from steer_llama.config import ExtractSettings, ModelSettings
from steer_llama.lm.embedded import NAME, embedded_folder
from steer_llama.lm.reading import open_reader
from steer_llama.progress import SilentReporter
from steer_llama.records import Pair

_CONTEXT = multiprocessing.get_context("spawn")
_WORDS = ("garden", "river", "window", "winter", "music", "bread", "letter", "morning", "story", "friend", "train")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--embedded", default="30,300", help="pairs, a row each, on the embedded model (30,300)")
    asked.add_argument("--tiny", default="30,3000", help="pairs, a row each, on the random Llama (30,3000)")
    options = asked.parse_args()
    table = Table("model", "pairs", "seconds", "RSS, loaded, MB", "peak above it, MB", "file, MB")
    console = Console(width=100, highlight=False)
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        tiny = build_tiny(Path(folder) / "tiny")
        for model, numbers in ((NAME, options.embedded), (str(tiny), options.tiny)):
            for number in filter(None, numbers.split(",")):
                seconds, loaded, above, size = measured(model, int(number), Path(folder))
                worst = max(worst, above)
                name = NAME if model == NAME else "tiny random Llama"
                shown = f"{seconds:.1f}", f"{loaded:.0f}", f"{above:.0f}", f"{size / 1e6:.1f}"
                table.add_row(name, f"{int(number):,}", *shown)
                console.print(f"{name}, {int(number):,} pairs: {seconds:.1f} s, {above:.0f} MB", style="dim")
    console.print(table)
    console.print(f"bar: highest peak above the loaded model {worst:.0f} MB, wanted < 1000: {_met(worst < 1000)}")


def _met(met: bool) -> str:
    return "met" if met else "NOT met"


def measured(model: str, count: int, folder: Path) -> tuple[float, float, float, int]:
    """Seconds, resident MB before, the peak over it in MB, and the bytes of the file."""
    here, there = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_extract, args=(there, model, count, folder / "activations.h5"))
    process.start()
    there.close()
    try:
        row: tuple[float, float, float, int] = here.recv()
    except EOFError:
        raise SystemExit(f"the measurement with {count} pairs failed; its error stands above") from None
    process.join()
    return row


def _extract(results: Connection, model: str, count: int, path: Path) -> None:
    torch.set_num_threads(THREADS)
    settings = ExtractSettings()
    reader = open_reader(ModelSettings(path=model, device="cpu", dtype="float32"), settings, SilentReporter())
    extract_pairs(reader, pairs(2), settings, path, SilentReporter())
    path.unlink()
    if not forget_peak():
        raise SystemExit("this system does not tell a process its peak memory; run this on Linux.")
    loaded = resident_mb() or 0.0
    begin = time.perf_counter()
    # The pairs themselves are made within: a user's lie in memory too.
    extract_pairs(reader, pairs(count), settings, path, SilentReporter())
    results.send((time.perf_counter() - begin, loaded, (peak_mb() or 0.0) - loaded, path.stat().st_size))
    path.unlink()


def pairs(count: int) -> list[Pair]:
    """Short pairs, no two alike, of various lengths."""

    def sentence(number: int, words: int) -> str:
        return " ".join(_WORDS[(number * 7 + place * (1 + number % 5)) % len(_WORDS)] for place in range(words))

    return [
        Pair(
            prompt=({"role": "user", "content": f"Question {number}: what about the {_WORDS[number % len(_WORDS)]}?"},),
            chosen=f"Oh 😊 number {number}! **{sentence(number, 4 + number % 9)}** 🎉",
            rejected=f"Number {number}: {sentence(number + 1, 4 + number % 11)}.",
            name=f"pair {number}",
        )
        for number in range(count)
    ]


def build_tiny(folder: Path) -> Path:
    """Random weights; the embedded model's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(embedded_folder(SilentReporter()))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
