"""The seed's loop over plain transformers, for where HookedTransformer cannot be installed."""

from contextlib import ExitStack

from torch import Tensor
from turns.weights import load_weights

from generation.hook import adding
from generation.reading import Reader
from generation.uncached import uncached
from generation.work import Work, Write


def load(work: Work) -> Write:
    model = load_weights(work.folder)

    def forward(ids_1T: Tensor, layer: int | None, vector_D: Tensor | None) -> Tensor:
        with ExitStack() as hooks:
            if layer is not None and vector_D is not None:
                hooks.callback(model.model.layers[layer].register_forward_hook(adding(vector_D)).remove)
            logits_1TV: Tensor = model(ids_1T, use_cache=False).logits
        return logits_1TV

    return uncached(work, Reader(work.folder), forward)
