"""GGUF weights through transformers: they are dequantised on load, which takes a while, so it is done once."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from steer_llama.errors import ModelError
from steer_llama.lm.weights import LOADING_ERRORS, read_weights
from steer_llama.progress import Reporter


def load_gguf(path: Path, dtype: torch.dtype | str, **how: Any) -> tuple[Any, Any]:
    """The model and the tokenizer of a GGUF file, as plain transformers objects.

    Raises:
        ModelError: transformers cannot read this file or its architecture.
    """
    try:
        with _no_bars():
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
            model = read_weights(path.parent, gguf_file=path.name, dtype=dtype, **how)
    except LOADING_ERRORS as error:
        raise ModelError(f"{path}: cannot be loaded as GGUF: {error}") from error
    # The weights are plain tensors by now; without this transformers refuses to save them.
    model.hf_quantizer = None
    model.is_quantized = False
    model.config.__dict__.pop("quantization_config", None)
    return model, tokenizer


def save_dequantised(gguf: Path, folder: Path, reporter: Reporter) -> None:
    """Write the model of a GGUF file as a float32 safetensors folder, with its tokenizer.

    float32 because a Q4_1 weight (scale times integer plus minimum) has no exact half-precision form.

    Raises:
        ModelError: the file cannot be read.
    """
    expected_seconds = 25
    with reporter.task("converting the embedded model, once", expected_seconds, "s (estimated)") as advance:
        done = threading.Event()
        ticker = threading.Thread(target=_tick, args=(advance, expected_seconds, done), daemon=True)
        ticker.start()
        try:
            model, tokenizer = load_gguf(gguf, torch.float32)
            with _no_bars():
                model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        finally:
            done.set()
            ticker.join()


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep the bars of transformers off the screen, where ours already stands; both switches are put back.

    Its own switch does not reach the bar of the dequantisation, which is tqdm's.
    """
    shown = transformers_logging.is_progress_bar_enabled()
    original = tqdm.__init__

    def silent(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "disable": True})

    transformers_logging.disable_progress_bar()
    tqdm.__init__ = silent  # type: ignore[method-assign]
    try:
        yield
    finally:
        tqdm.__init__ = original  # type: ignore[method-assign]
        if shown:
            transformers_logging.enable_progress_bar()


def _tick(advance: Any, limit: int, done: threading.Event) -> None:
    """Move the bar by the clock, up to the last second: transformers tells nothing while it dequantises."""
    began = time.monotonic()
    for second in range(1, limit):
        if done.wait(max(0.0, began + second - time.monotonic())):
            break
        advance(1)
    done.wait()
