"""vLLM with vllm-lens in this process: conversations in, means out. Imports nothing of steer-llama.

Shapes: T tokens, P positions (masks), L layers, D width.
"""

from typing import Any

import numpy as np
import torch
import vllm_lens  # noqa: F401 - vLLM loads it by itself, and silently goes on where it is missing
from vllm.platforms import current_platform

import vllm
from vllm import LLM, SamplingParams


class Engine:
    """A model that is loaded."""

    def __init__(self, device: str, settings: dict[str, Any]) -> None:
        """Load it.

        Args:
            device: kind of device that vLLM has to run on (``cpu``, ``cuda``), or empty for any.
            settings: as ``vllm.LLM`` takes them.
        """
        runs_on = current_platform.device_type
        if device and device != runs_on:
            raise ValueError(f"the device {device!r} is asked for, and this vLLM runs on {runs_on!r}")
        self.version = vllm.__version__
        self._llm = LLM(
            **settings,
            enforce_eager=True,
            # vLLM does not compute a cached beginning, and so would not return its residual stream.
            enable_prefix_caching=False,
            skip_tokenizer_init=True,
            disable_log_stats=True,
        )

    def read(
        self, ids: list[np.ndarray], masks: list[np.ndarray], layers: list[int], *, tokens: bool
    ) -> list[np.ndarray]:
        """Mean, norm and (on request) tokens of every conversation, one after the other."""
        sampling = SamplingParams(
            max_tokens=1, temperature=0, detokenize=False, extra_args={"output_residual_stream": layers}
        )
        prompts = [{"prompt_token_ids": ids_T.tolist()} for ids_T in ids]
        answers: list[np.ndarray] = []
        outputs = self._llm.generate(prompts, sampling, use_tqdm=False)
        for ids_T, mask_PT, output in zip(ids, masks, outputs, strict=True):
            found = getattr(output, "activations", None)
            if found is None:
                raise RuntimeError("vLLM returned no activations: its plugin vllm-lens was not loaded (VLLM_PLUGINS?)")
            hidden_LTD = found["residual_stream"]
            if tuple(hidden_LTD.shape[:2]) != (len(layers), len(ids_T)):
                raise RuntimeError(
                    f"vLLM returned {hidden_LTD.shape[0]} layers of {hidden_LTD.shape[1]} tokens, "
                    f"asked for {len(layers)} of {len(ids_T)}"
                )
            answers += _pooled(hidden_LTD, torch.from_numpy(mask_PT.copy()), tokens=tokens)
            del output.activations
        return answers


def _pooled(hidden_LTD: torch.Tensor, mask_PT: torch.Tensor, *, tokens: bool) -> list[np.ndarray]:
    full_LTD = hidden_LTD.float()
    counts_P1 = mask_PT.sum(1, keepdim=True).clamp(min=1)
    mean_LPD = (mask_PT.float() @ full_LTD) / counts_P1
    norm_L = torch.linalg.vector_norm(full_LTD, dim=-1) @ mask_PT[0].float() / counts_P1[0]
    pooled = [mean_LPD.transpose(0, 1).contiguous().numpy(), norm_L.numpy()]
    if tokens:
        kept_LTD = hidden_LTD[:, mask_PT[0]]
        # numpy has no bfloat16: its bits travel as integers.
        pooled.append((kept_LTD.view(torch.int16) if kept_LTD.dtype == torch.bfloat16 else kept_LTD).numpy())
    return pooled
