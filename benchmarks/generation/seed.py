"""The seed's way: its loop over HookedTransformer 2.18."""

from torch import Tensor
from turns.hooked import hooked

from generation.hooked_transformer import adding
from generation.reading import Reader
from generation.uncached import uncached
from generation.work import Work, Write


def load(work: Work) -> Write:
    model = hooked(work.folder, work.longest)

    def forward(ids_1T: Tensor, layer: int | None, vector_D: Tensor | None) -> Tensor:
        hooks = [] if layer is None else adding(layer, vector_D)
        logits_1TV: Tensor = model.run_with_hooks(ids_1T, fwd_hooks=hooks, return_type="logits")
        return logits_1TV

    return uncached(work, Reader(work.folder), forward)
