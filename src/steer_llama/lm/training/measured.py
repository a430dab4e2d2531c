"""How good a direction is on a set of pairs.

Shapes: N pairs, D width; 2 is (chosen, rejected).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer_llama.lm.training.objective import Objective, Steered


@dataclass(frozen=True)
class Measured:
    """A direction on a set of pairs, all strengths taken together."""

    loss: float
    """Mean over pairs, strengths and both signs; log 2 = 0.693 where nothing is added."""
    chosen_preferred: float
    """Share in which the chosen answer is the likelier one, per token, with the direction added."""
    rejected_preferred: float
    """Share in which the rejected answer is, with the direction subtracted."""
    chosen_gain: float
    """Nats per token that adding the direction gives the chosen answers; negative: they become less likely."""
    rejected_gain: float
    """Nats per token that adding it gives the rejected ones."""


def measure(objective: Objective, pairs: Sequence[int], unit_D: Tensor, lengths: Sequence[float]) -> Measured:
    """Steer each of ``pairs`` both ways at every length (residual units); always in the same order."""
    units = [Steered(pair, sign * length) for pair in pairs for length in lengths for sign in (1, -1)]
    losses, added, subtracted, gains = [], [], [], []
    with torch.no_grad():
        for batch in objective.batches(units):
            likelihood_U2 = objective.likelihood_U2(batch, unit_D)
            losses.append(objective.losses_U(batch, likelihood_U2))
            positive = torch.tensor([unit.coefficient > 0 for unit in batch])
            chosen_first = likelihood_U2[:, 0] > likelihood_U2[:, 1]
            rejected_first = likelihood_U2[:, 1] > likelihood_U2[:, 0]
            added.append(chosen_first[positive])
            subtracted.append(rejected_first[~positive])
            plain_U2 = objective.plain_N2[[unit.pair for unit in batch]]
            gains.append((likelihood_U2 - plain_U2)[positive])
    gain_2 = torch.cat(gains).double().mean(dim=0)
    return Measured(
        loss=float(torch.cat(losses).double().mean()),
        chosen_preferred=float(torch.cat(added).double().mean()),
        rejected_preferred=float(torch.cat(subtracted).double().mean()),
        chosen_gain=float(gain_2[0]),
        rejected_gain=float(gain_2[1]),
    )
