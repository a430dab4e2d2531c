"""Stands in for vLLM where the worker, the pipe and the errors are tested: numbers that say where they come from.

Column 0 of the residual of layer L at position t of token i is 1000·L + t + i/100, column 1 its sign-changed half.
What goes wrong is chosen by the first token.
"""

import os
import signal
import sys
from types import SimpleNamespace
from typing import Any

import torch

__version__ = "0.0-fake"

NO_ACTIVATIONS, CACHED, KILLED, DEAD = 61, 62, 63, 64


class SamplingParams:
    def __init__(self, **settings: Any) -> None:
        self.extra_args = settings["extra_args"]
        assert settings["max_tokens"] == 1


class LLM:
    def __init__(self, model: str, dtype: str, max_model_len: int, **others: Any) -> None:
        assert "VLLM_LENS_DISABLE" not in os.environ
        assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
        assert others["enable_prefix_caching"] is False
        os.write(1, b"vLLM chatters on the standard output\n")
        if dtype == "float16":
            raise ValueError("Model architectures ['Unheard'] are not supported\nfor now")
        self.dtype, self.room = getattr(torch, dtype), max_model_len

    def generate(self, prompts: list[dict[str, list[int]]], sampling: SamplingParams, use_tqdm: bool) -> list[Any]:
        layers_L1 = torch.tensor(sampling.extra_args["output_residual_stream"])[:, None]
        return [self.answer(prompt["prompt_token_ids"], layers_L1) for prompt in prompts]

    def answer(self, ids: list[int], layers_L1: torch.Tensor) -> SimpleNamespace:
        if len(ids) >= self.room:
            raise ValueError(f"The decoder prompt (length {len(ids)}) is longer than {self.room - 1}")
        if ids[0] == NO_ACTIVATIONS:
            return SimpleNamespace()
        if ids[0] == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if ids[0] == DEAD:
            sys.exit("the engine core has died")
        value_LT = 1000 * layers_L1 + torch.arange(len(ids)) + torch.tensor(ids) / 100
        hidden_LTD = torch.zeros(*value_LT.shape, 32)
        hidden_LTD[..., 0], hidden_LTD[..., 1] = value_LT, -value_LT / 2
        cached = 3 if ids[0] == CACHED else 0
        return SimpleNamespace(activations={"residual_stream": hidden_LTD[:, cached:].to(self.dtype)})
