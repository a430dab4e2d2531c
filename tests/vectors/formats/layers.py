"""The residual stream of a model as the neighbours read it, to build their files with."""

from typing import Any

import numpy as np
import torch

from steer_llama.lm.load import LanguageModel
from steer_llama.vectors import SteeringVector
from tests.vectors.test_vector import vector

IDS_BT = torch.tensor([[5, 9, 33, 7, 41]])


def hooked_LD(model: LanguageModel) -> np.ndarray:
    """Each block's output, averaged over the tokens, by plain hooks on transformers' modules."""
    found: list[torch.Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        found.append((output[0] if isinstance(output, tuple) else output)[0].mean(dim=0))

    handles = [block.register_forward_hook(keep) for block in model.hf.model.layers]
    with torch.no_grad():
        model.hf(IDS_BT)
    for handle in handles:
        handle.remove()
    return torch.stack(found).numpy()


def hidden_states_ND(model: LanguageModel) -> torch.Tensor:
    """transformers' ``hidden_states``, averaged over the tokens: the embeddings, each block, the last one normed."""
    with torch.no_grad():
        return torch.stack(
            [state[0].mean(dim=0) for state in model.hf(IDS_BT, output_hidden_states=True).hidden_states]
        )


def partial(**changes: Any) -> SteeringVector:
    """A vector whose layers are some, not in order."""
    return vector(**{"layers": (9, 4, 7), "evidence": {"pairs": 3}, **changes})


def complete(first: int = 0) -> SteeringVector:
    """A vector with every layer from ``first`` to 11; some numbers are tiny or negative zeros."""
    rows_LD = np.random.default_rng(1).standard_normal((12 - first, 16)).astype(np.float32)
    rows_LD[0, :3] = -0.0, 1e-42, 3e38
    return vector(directions_LD=rows_LD, layers=tuple(range(first, 12)), residual_norm_L=None)


def by_layer(of: SteeringVector) -> dict[int, bytes]:
    return {layer: of.direction_D(layer).tobytes() for layer in of.layers}
