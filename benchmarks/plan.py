"""How true `plan` is: what it predicts beside what is measured here.

Each row is measured in a process of its own, from a clean memory. The peak is this machine's own matrix products, so a
ratio of times says how well the model's code uses the machine; `plan` assumes the share that it states.

    uv run python benchmarks/plan.py
    uv run python benchmarks/plan.py --layers 1 --tokens 512      # less memory: 3.4 GB a layer in float32

On a machine with CUDA the last rows are ten layers of the 70B shape in bfloat16 (17 GB); elsewhere it says so.
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoConfig, AutoModelForCausalLM

from steer_llama.config import ExtractSettings, ModelSettings
from steer_llama.elicitations import read_elicitation
from steer_llama.files import write_jsonl
from steer_llama.lm.capture import run_blocks
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.lm.sizing import ModelShape, Text, activation_bytes, measured_tflops, shape_of, work_of
from steer_llama.packaged import model_config_path
from steer_llama.progress import SilentReporter
from steer_llama.stages.conversations import PairsFile
from steer_llama.stages.extract import extract
from steer_llama.stages.plan import CPU_MFU, GPU_MFU, Asked, plan

_CONTEXT = multiprocessing.get_context("spawn")
_SMALL_VOCABULARY = 1024
"""So that the layers are what is measured; the embeddings of the real one take 4.2 GB in float32."""


@dataclass(frozen=True)
class Case:
    title: str
    model: str
    layers: int | None
    """Of the packaged shape, with random weights; `None`: the real weights of smollm2."""
    device: str
    dtype: str
    tokens: int
    passes: int


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--layers", type=int, default=2, help="of the 70B shape on the CPU; 0 leaves it out (2)")
    asked.add_argument("--tokens", type=int, default=1024, help="of a pass (1024)")
    asked.add_argument(
        "--passes", type=int, default=5, help="timed passes of smollm2; on a CPU the others have one (5)"
    )
    options = asked.parse_args()
    cases = [Case("smollm2, float32, CPU", "smollm2-135m", None, "cpu", "float32", options.tokens, options.passes)]
    if options.layers:
        title = f"{options.layers} layers of llama-3.3-70b, float32, CPU"
        cases.append(Case(title, "llama-3.3-70b", options.layers, "cpu", "float32", options.tokens, 1))
    if torch.cuda.is_available():
        title = f"10 layers of llama-3.3-70b, bfloat16, {torch.cuda.get_device_name()}"
        cases.append(Case(title, "llama-3.3-70b", 10, "cuda", "bfloat16", options.tokens, options.passes * 4))
    real = Case("extract: 40 pairs, smollm2, float32, CPU", "smollm2", None, "cpu", "float32", options.tokens, 1)
    table = Table("", "predicted", "measured", "measured / predicted")
    for case, work in [(real, _measure_extract), *((case, _measure) for case in cases)]:
        table.add_section()
        table.add_row(f"[bold]{case.title}")
        for row in measured(case, work):
            table.add_row(*row)
    console = Console(width=110)
    console.print(table)
    if not torch.cuda.is_available():
        console.print("No CUDA here: ten layers of llama-3.3-70b in bfloat16 were not run.")


def measured(case: Case, work: Callable[[Connection, Case], None]) -> list[tuple[str, ...]]:
    here, there = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=work, args=(there, case))
    process.start()
    there.close()
    try:
        rows: list[tuple[str, ...]] = here.recv()
    except EOFError:
        raise SystemExit(f"the measurement of {case.title} failed; its error stands above") from None
    process.join()
    return rows


def _measure(results: Connection, case: Case) -> None:
    config = AutoConfig.from_pretrained(model_config_path(case.model))
    if case.layers is not None:
        config.num_hidden_layers, config.vocab_size = case.layers, _SMALL_VOCABULARY
    shape = shape_of(config, case.model)
    item = torch.empty(0, dtype=getattr(torch, case.dtype)).itemsize
    before = _memory(case.device)
    model = _model(case, config)
    held = sum(weight.nbytes for weight in {id(each): each for each in model.hf.parameters()}.values())
    ids_BT = torch.randint(0, _SMALL_VOCABULARY, (1, case.tokens), device=model.device)
    # The first pass is slow, whatever its length; and weights that were mapped from a file are in memory only after it.
    _pass(model, ids_BT[:, :64])
    resident = _memory(case.device)
    _forget_peak(case.device)
    seconds, above, peaks = [], 0, []
    for _ in range(case.passes):  # in turns, so that a machine that others slow down is as slow for both
        seconds.append(_pass(model, ids_BT))
        above = max(above, _peak(case.device) - resident)
        peaks.append(_peak_tflops(case, shape))
    peak, taken = statistics.median(peaks), statistics.median(seconds)
    text = Text(1, case.tokens, case.tokens, case.tokens, case.tokens * (case.tokens + 1) // 2, case.tokens, "one pass")
    flops = work_of(shape, text, shape.n_layers - 1).flops
    mfu = CPU_MFU if case.device == "cpu" else GPU_MFU
    predicted = flops / (peak * 1e12 * mfu)
    weights, activations = shape.parameters * item, case.tokens * activation_bytes(shape, case.dtype)
    results.send(
        [
            _row("parameters, bytes", weights, held, "{:,.0f}"),
            _row("memory taken by them, MB", weights / 1e6, (resident - before) / 1e6, "{:,.0f}"),
            _row("memory above them in a pass, MB (at most)", activations / 1e6, above / 1e6, "{:,.0f}"),
            _row(f"{case.tokens:,} tokens, s (at {mfu} of {peak:.3f} TFLOP/s)", predicted, taken, "{:.3f}"),
            ("share of the peak that is reached", f"{mfu:.2f}", f"{flops / (peak * 1e12) / taken:.2f}", ""),
        ]
    )


def _measure_extract(results: Connection, case: Case) -> None:
    """The verb itself, on pairs of the packaged questions: two answers of other questions, some 170 tokens each."""
    questions = read_elicitation("emoji").questions
    with tempfile.TemporaryDirectory() as name:
        pairs, out, settings = (
            Path(name, "pairs.jsonl"),
            Path(name, "a.h5"),
            ModelSettings(path="smollm2", device="cpu"),
        )
        rows = [
            {"prompt": question, "chosen": _answer(questions, number, 1), "rejected": _answer(questions, number, 20)}
            for number, question in enumerate(questions)
        ]
        write_jsonl(pairs, rows)
        load_model(settings, SilentReporter())
        asked = Asked("smollm2", "cpu", pairs_file=pairs, token_budget=case.tokens)
        write_jsonl(Path(name, "few.jsonl"), rows[:2])
        _extract(Path(name, "few.jsonl"), settings, Path(name, "few.h5"))  # the first pass is slow
        before = plan(asked, SilentReporter())
        start = time.perf_counter()
        _extract(pairs, settings, out)
        taken = time.perf_counter() - start
        after = plan(asked, SilentReporter())  # in turns, as in `_measure`
        peak = (before.tflops + after.tflops) / 2
        predicted = before.work.flops / (peak * 1e12 * CPU_MFU)
        size = out.stat().st_size
        results.send(
            [
                _row("file, bytes", before.file.total, size, "{:,.0f}"),
                _row(
                    f"{before.text.computed:,} tokens, s (at {CPU_MFU} of {peak:.3f} TFLOP/s)",
                    predicted,
                    taken,
                    "{:.1f}",
                ),
                ("share of the peak", f"{CPU_MFU:.2f}", f"{before.work.flops / (peak * 1e12) / taken:.2f}", ""),
            ]
        )


def _extract(pairs: Path, settings: ModelSettings, out: Path) -> None:
    extract(PairsFile(pairs), settings, ExtractSettings(), out, SilentReporter())


def _answer(questions: Sequence[str], number: int, shift: int) -> str:
    return " ".join(questions[(number + shift + step) % len(questions)] for step in range(14))


def _peak_tflops(case: Case, shape: ModelShape) -> float:
    return measured_tflops(case.dtype, case.tokens, shape.width, shape.mlp_width, device=case.device, seconds=1.0)


def _row(what: str, predicted: float, found: float, form: str) -> tuple[str, ...]:
    return what, form.format(predicted), form.format(found), f"{found / predicted:.3f}"


def _model(case: Case, config: Any) -> LanguageModel:
    if case.layers is None:
        return load_model(ModelSettings(path="smollm2", device=case.device, dtype="float32"), SilentReporter())
    torch.manual_seed(0)
    with torch.device(case.device):
        hf = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, case.dtype))
    return LanguageModel(hf.eval().requires_grad_(requires_grad=False), None, case.model, "", "")


def _pass(model: LanguageModel, ids_BT: torch.Tensor) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        run_blocks(model, ids_BT)
        if ids_BT.is_cuda:
            torch.cuda.synchronize()
    return time.perf_counter() - start


# -- memory, in bytes: the process's own on a CPU, the allocator's on a GPU ------------------------------------------


def _memory(device: str) -> int:
    if device != "cpu":
        return int(torch.cuda.memory_allocated())
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _forget_peak(device: str) -> None:
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def _peak(device: str) -> int:
    if device != "cpu":
        return int(torch.cuda.max_memory_allocated())
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
