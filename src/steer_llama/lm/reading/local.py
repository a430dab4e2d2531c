"""The transformers backend: which type, which engine, how many tokens at once. Every choice says why."""

from steer_llama.config import ExtractSettings, ModelSettings
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.lm.reading.alone import AloneReader
from steer_llama.lm.reading.budget import Budget, choose_budget
from steer_llama.lm.reading.conversation import Reader
from steer_llama.lm.reading.packed import PackedReader
from steer_llama.lm.reading.parallel import in_parallel, world_size
from steer_llama.lm.reading.precision import in_faster_type
from steer_llama.lm.reading.suitable import fastest_blocks, obstacle
from steer_llama.progress import Reporter

_SLICED_BUDGET = 4096
"""Tokens of a pass under torchrun: enough to keep a GPU busy, and few beside what the weights take."""


def local_reader(settings: ModelSettings, extract: ExtractSettings, reporter: Reporter) -> Reader:
    """Load the weights into this process.

    Args:
        settings: the weights.
        extract: what is read of them.
        reporter: is told of a conversion.

    Raises:
        ModelError: nothing loadable is there.
    """
    model = load_model(settings, reporter)
    if world_size() > 1:
        return _sliced(model, extract)
    if settings.dtype == "auto":
        model = in_faster_type(model)
    if (reason := obstacle(model)) is not None:
        return AloneReader(model, reason)
    blocks = fastest_blocks(model)
    if extract.token_budget is not None:
        budget = Budget(extract.token_budget, "as asked")
    else:
        n_layers = model.n_layers if extract.layers is None else len(extract.layers)
        budget = choose_budget(model, blocks, keeps_tokens=extract.tokens, n_layers=n_layers)
    return PackedReader(model, budget.tokens, budget.reason, blocks)


def _sliced(model: LanguageModel, extract: ExtractSettings) -> Reader:
    """Under torchrun nothing is chosen by measuring: the processes would choose differently, and wait for ever."""
    asked = extract.token_budget
    budget = Budget(asked, "as asked") if asked else Budget(_SLICED_BUDGET, "the same for every process")
    if (reason := obstacle(model)) is not None:
        return in_parallel(AloneReader(model, reason))
    return in_parallel(PackedReader(model, budget.tokens, budget.reason))
