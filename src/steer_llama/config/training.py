"""How a direction is trained through the model."""

from typing import Annotated

from pydantic import Field

from steer_llama.config.base import Settings


class TrainSettings(Settings):
    """The trained estimator's: a direction optimised on the pairs through the model."""

    steps: int = Field(40, ge=1)
    """The most steps; fewer where the dev pairs gain nothing more."""
    learning_rate: float = Field(0.1, gt=0)
    """Turn of the direction per step at first, in radians (about)."""
    batch_size: int = Field(4, ge=1)
    """Pairs per step."""
    strengths: tuple[Annotated[float, Field(gt=0)], ...] = Field((0.1, 0.2, 0.3), min_length=1)
    """‖coefficient·v‖ over the mean residual norm at the layer; each pair of a step draws one."""
    dev_share: float = Field(0.2, gt=0, lt=1)
    """Of the pairs, kept out by prompt to decide when it stops; at least 2 pairs, and about 50 at most."""
    check_every: int = Field(5, ge=1)
    """Steps between two looks at the dev pairs."""
    patience: int = Field(3, ge=1)
    """Looks without a better dev loss after which it stops."""
    token_budget: int = Field(1024, ge=1)
    """The most tokens of one pass forward and back, whose memory grows with it; a longer pair goes through whole."""
    seed: int = 0
    """Of the split, of the order of the pairs and of the strengths."""
