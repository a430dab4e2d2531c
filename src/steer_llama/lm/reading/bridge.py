"""The backend ``transformer_lens``: the same weights inside a TransformerBridge, read at ``blocks.L.hook_resid_post``.

One conversation at a time: TransformerLens computes attention eagerly, so a padded batch costs more than it gives.

Shapes: B batch (one), T tokens, D width.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge.sources import build_bridge_from_module

from steer_llama.config import ModelSettings
from steer_llama.errors import ModelError
from steer_llama.lm.load import LanguageModel, load_fresh
from steer_llama.lm.packing import pack
from steer_llama.lm.reading.conversation import Batches, Conversation, Pooled, Wanted
from steer_llama.lm.reading.sums import Sums
from steer_llama.lm.weights import LOADING_ERRORS
from steer_llama.progress import Reporter


class _Enough(Exception):  # noqa: N818 - no error: the way out of a forward pass
    """The deepest layer that is wanted has been read; what is left is not computed."""


class BridgeReader:
    """Reads a model through TransformerLens (see `Reader`)."""

    def __init__(self, model: LanguageModel) -> None:
        """Wrap ``model``, which is changed by it: nobody else may be using it.

        Raises:
            ModelError: TransformerLens does not know the architecture.
        """
        self.tokenizer = model.tokenizer
        self.name, self.fingerprint, self.dtype = model.name, model.fingerprint, model.dtype
        self.origin = model.origin
        self.n_layers, self.width, self.context_length = model.n_layers, model.width, model.context_length
        self.about = f"{model.name} in {model.dtype} on {model.device} through TransformerLens ({model.dtype_reason})"
        self._device, self._dtype = model.device, model.hf.dtype
        architecture, devices = type(model.hf).__name__, {parameter.device for parameter in model.hf.parameters()}

        def spread(adapter: Any) -> None:
            adapter.cfg.n_devices = len(devices)

        try:
            # Around weights that our loader has read, and not `boot_transformers`, which reads weights and a tokenizer
            # anew: so GGUF files and several GPUs work here too, and half a model is refused here too.
            self.bridge: Any = build_bridge_from_module(
                model.hf, architecture, hf_config=copy.deepcopy(model.hf.config), post_adapter_hook=spread
            )
        except (*LOADING_ERRORS, AttributeError, IndexError) as error:
            raise ModelError(
                f"{model.name}: TransformerLens cannot wrap {architecture} "
                f"({' '.join(str(error).split())}). Use --backend transformers."
            ) from error

    def batches(self, groups: Sequence[Sequence[Conversation]], token_budget: int | None = None) -> Batches:
        """See `Reader`; the token budget has no effect."""
        longest = max(len(each.ids_T) for group in groups for each in group)
        alone = tuple((number,) for number in range(len(groups)))
        return Batches(alone, token_budget or longest, "one conversation at a time through TransformerLens")

    def read(self, conversations: Sequence[Conversation], wanted: Wanted) -> list[Pooled]:
        """See `Reader`."""
        return [self._read(conversation, wanted) for conversation in conversations]

    def close(self) -> None:
        """Nothing to let go of."""

    def _read(self, conversation: Conversation, wanted: Wanted) -> Pooled:
        sums = Sums([conversation], pack([conversation.ids_T]), 0, wanted, self.width, self._dtype)
        sums.begin((0, len(conversation.ids_T)))
        deepest = wanted.layers[-1]

        def hook_for(layer: int) -> Callable[..., None]:
            def read(hidden_BTD: Tensor, hook: Any) -> None:  # noqa: ARG001 - TransformerLens passes it by name
                sums.add(layer, hidden_BTD)
                if layer == deepest:
                    raise _Enough

            return read

        hooks = [(f"blocks.{layer}.hook_resid_post", hook_for(layer)) for layer in wanted.layers]
        ids_BT = torch.from_numpy(conversation.ids_T[None]).long().to(self._device)
        try:
            with torch.inference_mode(), self.bridge.hooks(fwd_hooks=hooks):
                self.bridge.forward(ids_BT, return_type=None, attention_mask=torch.ones_like(ids_BT))
        except _Enough:
            sums.end()
            return sums.pooled()[0]
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"{self.name}: TransformerLens fails on it: {' '.join(str(error).split())}") from error
        raise ModelError(f"{self.name}: TransformerLens ran it without passing blocks.{deepest}.hook_resid_post.")


def open_bridge(settings: ModelSettings, reporter: Reporter) -> BridgeReader:
    """Load the weights and wrap them.

    Raises:
        ModelError: nothing loadable is there, or TransformerLens does not know the architecture.
    """
    return BridgeReader(load_fresh(settings, reporter))
