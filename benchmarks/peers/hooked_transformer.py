"""The seed's way: HookedTransformer one conversation at a time, every response token of every layer kept until the
end and then written as float32, gzip level 4, in the seed's layout. Nothing is averaged while the clock runs.

Shapes: T tokens, L layers, D width.
"""

from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import torch
from turns.hooked import hooked

from peers.loading import one
from peers.work import Conversation, Extract, Floats, Found, Work

_ARMS = ("chosen", "rejected")
Layers = dict[str, npt.NDArray[np.float32]]


def load(work: Work) -> Extract:
    model = hooked(work.folder, max(len(each.ids) for pair in work.pairs for each in pair))

    def read(conversation: Conversation) -> Layers:
        _, cache = model.run_with_cache(
            one(conversation), names_filter=lambda name: name.endswith("hook_resid_post"), return_type=None
        )
        return {name: kept[:, conversation.start :].to(torch.float32).numpy() for name, kept in cache.items()}

    def extract(some: Work) -> Found:
        path = some.scratch / "seed.h5"
        with torch.no_grad():
            kept = [tuple(read(each) for each in pair) for pair in some.pairs]
        _write(path, some, kept)
        return Found(None, path.stat().st_size)

    return extract


def vector(work: Work) -> Floats:
    """The mean difference (L, D) of the file that was written last."""
    total_LD = np.zeros((work.n_layers, work.width))
    with h5py.File(work.scratch / "seed.h5", "r") as file:
        for number in range(len(work.pairs)):
            for arm, sign in zip(_ARMS, (1, -1), strict=True):
                group = file[f"activations/sample_{number}_{arm}"]
                for layer in range(work.n_layers):
                    tokens_TD = group[f"blocks.{layer}.hook_resid_post"][0].astype(np.float64)
                    total_LD[layer] += sign * tokens_TD.mean(0)
    return total_LD / len(work.pairs)


def _write(path: Path, work: Work, kept: list[tuple[Layers, ...]]) -> None:
    with h5py.File(path, "w") as file:
        for number, (pair, arms) in enumerate(zip(work.pairs, kept, strict=True)):
            facts = file.create_group(f"metadata/sample_{number}").attrs
            facts["response_start_idx"] = pair[0].start
            facts["chosen_length"], facts["rejected_length"] = (len(each.ids) for each in pair)
            for arm, layers in zip(_ARMS, arms, strict=True):
                group = file.create_group(f"activations/sample_{number}_{arm}")
                for name, tokens_1TD in layers.items():
                    group.create_dataset(name, data=tokens_1TD, compression="gzip", compression_opts=4)
