"""What training makes small: a bidirectional preference loss.

Shapes: N pairs, U pairs under a steering, S tokens that count, D width; 2 is (chosen, rejected).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.training.examples import Example
from steer_llama.lm.training.upper import Upper
from steer_llama.lm.vocabulary import to_logits
from steer_llama.progress import Reporter

WINNER = 2.0
"""What a nat of the winner counts beside a nat of the loser."""


@dataclass(frozen=True)
class Steered:
    """A pair under one steering."""

    pair: int
    coefficient: float
    """Of the unit direction, in residual units. Positive: the chosen answer is to win; negative: the rejected one."""


class Objective:
    """How likely both answers of a pair are under a direction, and what that is worth.

    With ℓ(y) the mean log-likelihood of an answer's tokens from the divergence on, Δ(y) = ℓ(y, steered) −
    ℓ(y, unsteered), w the answer that the coefficient's sign wants and l the other one, a pair's loss is ::

        −log σ(2 Δ(w) − Δ(l))

    so log 2 without steering. Bidirectional and by length as RePS is (arXiv 2505.20809), which weights the winner too,
    by how much less likely the unsteered model finds it; relative to the unsteered model as BiPO is (arXiv
    2406.00045), so that a pair counts by what the direction does and not by how the model began. A weight above 1
    keeps a direction from winning by making both answers unlikely.
    """

    def __init__(
        self, model: LanguageModel, examples: Sequence[Example], layer: int, token_budget: int, reporter: Reporter
    ) -> None:
        """``token_budget`` bounds the tokens of a forward pass; the unsteered likelihoods are computed here, once."""
        self._model, self._token_budget = model, token_budget
        self._texts = [text for example in examples for text in (example.chosen, example.rejected)]
        self._upper = Upper(model, layer, [text.ids for text in self._texts], token_budget, reporter)
        self.dtype = torch.promote_types(model.hf.dtype, torch.float32)
        """Of directions and likelihoods."""
        self.width = model.width
        self.plain_N2 = torch.zeros(len(examples), 2, dtype=self.dtype)
        """ℓ of each pair's answers, unsteered."""
        with torch.no_grad():
            for batch in self.batches([Steered(pair, 0.0) for pair in range(len(examples))]):
                self.plain_N2[[one.pair for one in batch]] = self.likelihood_U2(batch, None)

    def batches(self, units: Sequence[Steered]) -> Iterator[list[Steered]]:
        """The units in groups that one forward pass takes; those of like length together."""
        batch: list[Steered] = []
        for unit in sorted(units, key=self._length):
            # Sorted, so the newcomer is the longest, to which all rows are padded.
            if batch and 2 * (len(batch) + 1) * self._length(unit) > self._token_budget:
                yield batch
                batch = []
            batch.append(unit)
        if batch:
            yield batch

    def likelihood_U2(self, units: Sequence[Steered], unit_D: Tensor | None) -> Tensor:
        """ℓ of the chosen and the rejected answer, in nats per token; ``None`` steers nothing."""
        rows = [2 * unit.pair + arm for unit in units for arm in (0, 1)]
        added = [None if unit_D is None else unit.coefficient * unit_D for unit in units for _ in (0, 1)]
        normed_BTD = self._upper.run(rows, added)
        found = []
        for normed_TD, row in zip(normed_BTD, rows, strict=True):
            text = self._texts[row]
            logits_SV = to_logits(self._model, normed_TD[text.begin - 1 : len(text.ids) - 1])
            expected_S = torch.tensor(text.ids[text.begin :], device=logits_SV.device)
            found.append(-cross_entropy(logits_SV, expected_S).to("cpu", self.dtype))
        return torch.stack(found).view(-1, 2)

    def losses_U(self, units: Sequence[Steered], likelihood_U2: Tensor) -> Tensor:
        """The loss of each unit."""
        gain_U2 = likelihood_U2 - self.plain_N2[[unit.pair for unit in units]]
        towards_chosen = torch.tensor([unit.coefficient > 0 for unit in units])
        winner_U = torch.where(towards_chosen, gain_U2[:, 0], gain_U2[:, 1])
        loser_U = torch.where(towards_chosen, gain_U2[:, 1], gain_U2[:, 0])
        return -logsigmoid(WINNER * winner_U - loser_U)

    def _length(self, unit: Steered) -> int:
        return max(len(self._texts[2 * unit.pair + arm].ids) for arm in (0, 1))
