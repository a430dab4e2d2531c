"""One way of `generation` in this process: it loads, says so, and then writes once for every line it reads.

    python steer_worker.py NAME WORK.json

Each line names a set of rows of the work. A few tokens of a set's first rows go before its first clock starts.
"""

import gc
import importlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from generation import SEED_PLAIN, SWEEP_WAYS, WAYS
from generation.work import Work
from turns.environments import THREADS

_FIRST_TOKENS = 3


def main() -> None:
    # Libraries that print do so on standard error: standard output is for the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    name, work = sys.argv[1], Work.read(Path(sys.argv[2]))
    torch.set_num_threads(THREADS)
    way = next(each for each in (*WAYS, *SWEEP_WAYS, SEED_PLAIN) if each.name == name)
    write = importlib.import_module(f"generation.{way.module}").load(work, **way.options)
    print("ready", file=answers, flush=True)
    warm: set[str] = set()
    for line in sys.stdin:
        rows = work.sets[line.strip()]
        if line not in warm:
            write(rows[: work.batch_size], _FIRST_TOKENS)
            warm.add(line)
        gc.collect()
        begin = time.perf_counter()
        written = write(rows, work.max_tokens)
        seconds = time.perf_counter() - begin
        facts = {"seconds": seconds, "answers": [asdict(answer) for answer in written]}
        print(json.dumps(facts), file=answers, flush=True)


if __name__ == "__main__":
    main()
