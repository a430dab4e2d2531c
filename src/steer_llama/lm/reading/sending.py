"""Which conversations are sent to vLLM at once. It packs them itself, so they keep their order."""

from collections.abc import Sequence

from steer_llama.lm.reading.conversation import Batches, Conversation

DEFAULT_BUDGET = 4096
"""Tokens whose residual streams wait in memory at once: some 300 MB of SmolLM2's, 5 GB of a 70B model's in bfloat16."""


def send_in_order(groups: Sequence[Sequence[Conversation]], token_budget: int | None, how: str) -> Batches:
    """Groups in their order, as many at once as ``token_budget`` tokens allow and at least one.

    Args:
        groups: all that will be read.
        token_budget: tokens sent at once; default: `DEFAULT_BUDGET`.
        how: for the log, e.g. ``by vLLM``.
    """
    budget = token_budget or DEFAULT_BUDGET
    batches: list[list[int]] = []
    filled = budget
    for number, group in enumerate(groups):
        tokens = sum(len(each.ids_T) for each in group)
        if filled + tokens > budget:
            batches.append([])
            filled = 0
        batches[-1].append(number)
        filled += tokens
    return Batches(tuple(map(tuple, batches)), budget, f"{len(batches)} batches of at most {budget} tokens {how}")
