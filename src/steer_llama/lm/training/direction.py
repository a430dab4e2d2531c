"""The trained estimator: a direction optimised on the pairs, through the model.

Shapes: N pairs, U pairs under a steering, D width; 2 is (chosen, rejected).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from steer_llama.config import TrainSettings
from steer_llama.errors import ModelError, VectorError
from steer_llama.lm.layers import check_layers
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.training.examples import Split, split_pairs, usable_pairs
from steer_llama.lm.training.measured import Measured, measure
from steer_llama.lm.training.objective import Objective, Steered
from steer_llama.lm.training.sphere import SphereSteps
from steer_llama.progress import Reporter
from steer_llama.records import Pair

Floats = npt.NDArray[np.float32]
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Step:
    """One step of the training."""

    step: int
    """From 1; 0 is the start."""
    train_loss: float | None
    """Of the step's pairs, before the step; ``None`` at the start."""
    dev_loss: float | None
    """After the step; ``None`` where nobody looked."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What training gave."""

    direction_D: Floats
    """As long as the start was; without a start, as long as the weakest strength."""
    history: tuple[Step, ...]
    best_step: int
    """The step after which the dev loss was lowest, which is what is returned; 0: the start was never bettered."""
    before: dict[str, Measured] | None
    """The start on ``train`` (fifty of them at most) and ``dev`` pairs; ``None`` where there was none."""
    after: dict[str, Measured]
    """What is returned, on both."""
    unsteered_chosen_preferred: float
    """Share of dev pairs whose chosen answer is the likelier one without steering."""
    n_train: int
    n_dev: int
    cosine_with_start: float | None
    seconds: float


def train_direction(
    model: LanguageModel,
    pairs: Sequence[Pair],
    layer: int,
    start_D: npt.ArrayLike | None,
    residual_norm: float,
    settings: TrainSettings,
    reporter: Reporter,
) -> Trained:
    """Turn a direction until adding it makes the chosen answers likelier, and subtracting it the rejected ones.

    `Objective` states the loss. Only the direction is learned: users choose the length afterwards, as a strength, so
    every pair of a step draws a strength and the direction stays a unit vector (`SphereSteps`). The dev pairs decide
    which step's direction is returned, and the start is one of the candidates: on the dev pairs the result is never
    worse. The model's weights are never touched.

    Args:
        model: the weights.
        pairs: what is learned from; a share is kept out to decide when to stop.
        layer: 0-based block at whose output the direction is added, at every token.
        start_D: where to begin, e.g. the mean difference; ``None`` or zeros: the gradient where nothing is added.
        residual_norm: mean ‖residual‖ at the layer, the unit of the strengths.
        settings: how long and how.
        reporter: is told what is done.

    Raises:
        FileError: fewer than five usable pairs, or too few different prompts.
        ContextLengthError: a pair does not fit the model's context.
        LayerError: the model has no such layer.
        ModelError: likelihoods or gradients are not finite.
        VectorError: the start does not fit the model, or nothing better than no direction was found.
    """
    began = time.monotonic()
    check_layers([layer], model.n_layers, model.name)
    _check_residual_norm(residual_norm, layer)
    given_D = _checked_start(start_D, model)
    kept, examples = usable_pairs(model, pairs, reporter)
    split = split_pairs(kept, settings.dev_share, settings.seed)
    objective = Objective(model, examples, layer, settings.token_budget, reporter)
    lengths = [strength * residual_norm for strength in settings.strengths]
    if given_D is None:
        start, norm, before = _steepest(objective, split.train), min(lengths), None
    else:
        start, norm = torch.from_numpy(given_D).to(objective.dtype), float(np.linalg.norm(given_D))
        start = torch.nn.functional.normalize(start, dim=0)
        before = {name: measure(objective, part, start, lengths) for name, part in split.measured.items()}
    search = _Search(objective, split, lengths, settings)
    with reporter.task(f"training layer {layer}", settings.steps, "steps") as advance:
        # A start of our own making has no right to be kept: what it has to beat is no direction, whose loss is log 2.
        best_D, best_step, history = search.run(start, math.log(2) if before is None else before["dev"].loss, advance)
    if before is None and best_step == 0:
        raise VectorError(
            f"layer {layer}: no direction was found that is better on the dev pairs than none. Give more pairs, start "
            "at the mean difference, or try another layer."
        )
    plain_N2 = objective.plain_N2[list(split.dev)]
    return Trained(
        direction_D=(norm * best_D.double()).numpy().astype(np.float32),
        history=history,
        best_step=best_step,
        before=before,
        after={name: measure(objective, part, best_D, lengths) for name, part in split.measured.items()},
        unsteered_chosen_preferred=float((plain_N2[:, 0] > plain_N2[:, 1]).double().mean()),
        n_train=len(split.train),
        n_dev=len(split.dev),
        cosine_with_start=None if before is None else float(best_D.double() @ start.double()),
        seconds=time.monotonic() - began,
    )


class _Search:
    """Steps from a start, with looks at the dev pairs in between."""

    def __init__(self, objective: Objective, split: Split, lengths: Sequence[float], settings: TrainSettings) -> None:
        self._objective, self._split, self._lengths, self._settings = objective, split, lengths, settings
        # A stream of its own: the split is drawn from the seed itself.
        self._generator = np.random.default_rng([settings.seed, 1])
        self._queue: list[int] = []

    def run(self, unit_D: Tensor, best_loss: float, advance: Advance) -> tuple[Tensor, int, tuple[Step, ...]]:
        """The best direction, its step, and all steps; step 0 where none has a dev loss below ``best_loss``."""
        settings = self._settings
        history = [Step(0, None, best_loss)]
        best_D, best_step, looks = unit_D, 0, 0
        steps = SphereSteps(settings.learning_rate, settings.steps)
        for step in range(1, settings.steps + 1):
            train_loss, gradient_D = loss_and_gradient(self._objective, self._drawn(), unit_D)
            unit_D = steps(unit_D, gradient_D)
            dev_loss = None
            if step % settings.check_every == 0 or step == settings.steps:
                dev_loss = measure(self._objective, self._split.dev, unit_D, self._lengths).loss
                looks += 1
                if dev_loss < best_loss:
                    best_loss, best_D, best_step, looks = dev_loss, unit_D, step, 0
            history.append(Step(step, train_loss, dev_loss))
            advance(1)
            if looks >= settings.patience:
                break
        return best_D, best_step, tuple(history)

    def _drawn(self) -> list[Steered]:
        """The next pairs, each both ways at a strength of its own; every pair comes once before any comes again."""
        units = []
        for _ in range(min(self._settings.batch_size, len(self._split.train))):
            if not self._queue:
                self._queue = self._generator.permutation(self._split.train).tolist()
            pair, length = self._queue.pop(), float(self._generator.choice(self._lengths))
            units += [Steered(pair, length), Steered(pair, -length)]
        return units


def loss_and_gradient(objective: Objective, units: Sequence[Steered], unit_D: Tensor) -> tuple[float, Tensor]:
    """The mean loss of ``units``, and its gradient in a direction that is scaled to length 1 first.

    Raises:
        ModelError: either is not finite.
    """
    loss, gradient_D = 0.0, torch.zeros_like(unit_D)
    for batch in objective.batches(units):
        free_D = unit_D.detach().clone().requires_grad_()
        with torch.enable_grad():
            scaled_D = torch.nn.functional.normalize(free_D, dim=0)
            part = objective.losses_U(batch, objective.likelihood_U2(batch, scaled_D)).sum() / len(units)
            # Not backward(): nothing is to be left on a weight that asks for gradients.
            gradient_D += torch.autograd.grad(part, free_D)[0]
        loss += float(part.detach())
    if not (math.isfinite(loss) and bool(torch.isfinite(gradient_D).all())):
        raise ModelError("training met NaN or infinity. Use --dtype bfloat16 or float32, or weaker strengths.")
    return loss, gradient_D


def _steepest(objective: Objective, pairs: Sequence[int]) -> Tensor:
    """The unit direction in which the chosen answers gain most on the rejected ones, where nothing is added yet."""
    zero_D = torch.zeros(objective.width, dtype=objective.dtype, requires_grad=True)
    gradient_D = torch.zeros_like(zero_D)
    for batch in objective.batches([Steered(pair, 1.0) for pair in pairs]):
        with torch.enable_grad():
            likelihood_U2 = objective.likelihood_U2(batch, zero_D)
            gradient_D += torch.autograd.grad((likelihood_U2[:, 0] - likelihood_U2[:, 1]).sum(), zero_D)[0]
    if not (bool(torch.isfinite(gradient_D).all()) and bool(gradient_D.any())):
        raise ModelError("the gradient where nothing is added is zero or not finite; start at the mean difference.")
    return torch.nn.functional.normalize(gradient_D, dim=0)


def _checked_start(start_D: npt.ArrayLike | None, model: LanguageModel) -> npt.NDArray[np.float64] | None:
    if start_D is None:
        return None
    found_D = np.asarray(start_D, dtype=np.float64)
    if found_D.shape != (model.width,):
        raise VectorError(f"the start has shape {found_D.shape}, but {model.name} is {model.width} wide.")
    if not np.isfinite(found_D).all():
        raise VectorError("the start holds NaN or infinity.")
    return found_D if found_D.any() else None


def _check_residual_norm(residual_norm: float, layer: int) -> None:
    if not (math.isfinite(residual_norm) and residual_norm > 0):
        raise VectorError(f"the mean residual norm of layer {layer} is {residual_norm}; it must be positive.")
