"""Reading through an installed vLLM: means are made where the weights are, so little crosses the pipe.

Shapes: L layers, T tokens, D width.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from steer_llama.config import ModelSettings
from steer_llama.errors import ModelError
from steer_llama.lm.load import choose_device, choose_dtype
from steer_llama.lm.reading.conversation import Batches, Conversation, Pooled, Wanted
from steer_llama.lm.reading.description import Description, describe
from steer_llama.lm.reading.sending import send_in_order
from steer_llama.lm.reading.vllm_process.interpreter import find_python
from steer_llama.lm.reading.vllm_process.process import Worker
from steer_llama.lm.reading.vllm_process.worker.frames import Array
from steer_llama.progress import Reporter

_OURS = {
    # A second process for the engine would only stand between us and the activations.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    # Set for a server, it would take away what we are here for. Nor does our Python's search path fit another Python.
    "VLLM_LENS_DISABLE": "",
    "PYTHONPATH": "",
    "PYTHONHOME": "",
}
_UNLESS_SET = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; only on a CPU. vLLM says so where it is too little
    # Threads that wait sleep, and none is bound to a core: beside another busy process it would crawl otherwise.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_WAIT_POLICY": "PASSIVE",
}


class VllmReader:
    """Reads a model through a worker process with vLLM (see `Reader`)."""

    def __init__(self, model: Description, settings: ModelSettings, python: Path, reporter: Reporter) -> None:
        """Start nothing yet: how long the conversations are is known later.

        Raises:
            ModelError: the device is not there, or the weights' type is not known.
        """
        device = choose_device(settings.device, settings.n_devices)
        dtype, reason = choose_dtype(settings.dtype, device)
        own = model.own_dtype if dtype == "auto" else str(dtype).removeprefix("torch.")
        if own is None:
            raise ModelError(f"{model.name}: its config.json does not say the weights' type. Say it with --dtype.")
        self.model, self.tokenizer = model, model.tokenizer
        self.name, self.fingerprint, self.dtype = model.name, model.fingerprint, own
        self.origin = model.origin
        self.n_layers, self.width = model.n_layers, model.width
        # vLLM wants room for the token that it would write next.
        self.context_length = None if model.context_length is None else model.context_length - 1
        self.about = f"{model.name} in {own} by the vLLM of {python} ({reason})"
        self._settings, self._python, self._reporter = settings, python, reporter
        self._longest = 0
        self._worker: Worker | None = None

    def batches(self, groups: Sequence[Sequence[Conversation]], token_budget: int | None = None) -> Batches:
        """See `Reader`."""
        self._longest = max(len(each.ids_T) for group in groups for each in group)
        return send_in_order(groups, token_budget, "through vLLM")

    def read(self, conversations: Sequence[Conversation], wanted: Wanted) -> list[Pooled]:
        """See `Reader`; the first call starts the worker."""
        if self._worker is None:
            self._worker = self._start(max(len(each.ids_T) for each in conversations))
        sent = [array for each in conversations for array in (each.ids_T, each.masks_PT)]
        arrays = self._worker.ask({"layers": wanted.layers, "tokens": wanted.tokens}, sent)
        per = 3 if wanted.tokens else 2
        if len(arrays) != per * len(conversations) or any(array.shape[-1] != self.width for array in arrays[::per]):
            raise ModelError(f"{self.name}: vLLM returned {len(arrays)} arrays, not as wide as config.json says.")
        return [
            Pooled(arrays[at], arrays[at + 1], self._tokens(arrays[at + 2]) if wanted.tokens else None)
            for at in range(0, len(arrays), per)
        ]

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _start(self, longest: int) -> Worker:
        environment = {**{name: os.environ.get(name, value) for name, value in _UNLESS_SET.items()}, **_OURS}
        if isinstance(self.model.path, Path):
            environment["HF_HUB_OFFLINE"] = "1"
        kind, _, number = self._settings.device.partition(":")
        if number:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            environment["CUDA_VISIBLE_DEVICES"] = visible[int(number)] if visible != [""] else number
        engine = {
            "model": str(self.model.path),
            "dtype": self.dtype,
            "max_model_len": max(self._longest, longest) + 1,
            "tensor_parallel_size": self._settings.n_devices,
        }
        with self._reporter.task("starting vLLM", 1, "worker") as advance:
            worker = Worker(self._python, environment, "" if kind == "auto" else kind, engine)
            advance(1)
        return worker

    def _tokens(self, values_LTD: Array) -> torch.Tensor:
        tokens_LTD = torch.from_numpy(values_LTD.copy())
        return tokens_LTD.view(torch.bfloat16) if self.dtype == "bfloat16" else tokens_LTD


def open_vllm(settings: ModelSettings, reporter: Reporter) -> VllmReader:
    """Find vLLM and describe the model.

    Raises:
        ModelError: no vLLM, no such model, or one that vLLM is not given (GGUF).
    """
    return VllmReader(describe(settings.where, reporter), settings, find_python(), reporter)
