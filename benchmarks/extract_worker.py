"""One way of `extract.py` in this process: it loads, says so, and then does the work once for every line it reads.

    python extract_worker.py NAME WORK.json

Each line names a file for the result (without its ending). A first pair goes through before the first clock starts.
"""

import gc
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import PEERS, REFERENCE
from peers.memory import forget_peak, peak_mb, resident_mb
from peers.work import Extract, Work
from turns.environments import THREADS


def main() -> None:
    # Libraries that print do so on standard error: standard output is for the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    name, work = sys.argv[1], Work.read(Path(sys.argv[2]))
    torch.set_num_threads(THREADS)
    peer = next(each for each in (REFERENCE, *PEERS) if each.name == name)
    module = importlib.import_module(f"peers.{peer.module}")
    extract = module.load(work, **peer.options)
    print("ready", file=answers, flush=True)
    for turn, line in enumerate(sys.stdin):
        if turn == 0:
            extract(work.first())
        facts = measure(extract, work, module, Path(line.strip()))
        print(json.dumps(facts), file=answers, flush=True)


def measure(extract: Extract, work: Work, module: Any, result: Path) -> dict[str, Any]:
    """The work once; its vector goes to ``result``, with the ending ``.npy``."""
    gc.collect()
    loaded = resident_mb() if forget_peak() else None
    begin = time.perf_counter()
    found = extract(work)
    seconds = time.perf_counter() - begin
    peak = peak_mb()
    vector_LD = found.vector_LD
    if vector_LD is None and hasattr(module, "vector"):
        vector_LD = module.vector(work)
    if vector_LD is not None:
        np.save(result.with_suffix(".npy"), vector_LD)
    above = None if loaded is None or peak is None else peak - loaded
    return {"seconds": seconds, "above_mb": above, "file_bytes": found.file_bytes, **found.facts}


if __name__ == "__main__":
    main()
