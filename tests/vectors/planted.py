"""Pairs with a known direction in them, hidden in what real answers have: noise, topics, positions, lengths.

Shapes: N pairs, D width.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steer_llama.vectors import Confounds

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Planted:
    chosen_ND: Floats
    rejected_ND: Floats
    direction_D: Floats
    confounds: Confounds

    def cosine(self, found_D: Floats) -> float:
        return float(found_D @ self.direction_D / np.linalg.norm(found_D) / np.linalg.norm(self.direction_D))


def planted(
    seed: int,
    *,
    n_pairs: int = 60,
    width: int = 256,
    strength: float = 1.0,
    noise: float = 0.2,
    topics: float = 3.0,
    position: float = 0.0,
    length: float = 0.0,
    odd_pairs: int = 0,
) -> Planted:
    """Answers as topic + strength · direction (chosen ones) + confounds + noise.

    The chosen answers' tokens stand later, and the answers are longer, by amounts that vary from pair to pair.
    ``position`` and ``length`` say how long the shift is that this brings on average, along directions of their own.
    """
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(random.standard_normal((width, 12)))[0].T
    topic_ND = random.standard_normal((n_pairs, 8)) @ axes[4:] * topics + 20 * axes[3]
    later_N = {arm: random.gamma(4, 1, n_pairs) * mean / 4 for arm, mean in (("chosen", 2.0), ("rejected", 1.0))}
    longer_N = {arm: random.gamma(4, 1, n_pairs) * mean / 4 for arm, mean in (("chosen", 3.0), ("rejected", 2.0))}
    arms = {}
    for arm, sign in (("chosen", 0.5), ("rejected", -0.5)):
        arms[arm] = (
            topic_ND
            + sign * strength * axes[0]
            + position * later_N[arm][:, None] * axes[1]
            + length * longer_N[arm][:, None] * axes[2]
            + noise * random.standard_normal((n_pairs, width)) / np.sqrt(2)
        )
    arms["chosen"][:odd_pairs] += 40 * random.standard_normal(width) / np.sqrt(width)
    return Planted(
        arms["chosen"],
        arms["rejected"],
        axes[0],
        Confounds(
            ("position", "length"),
            np.stack([later_N["chosen"], longer_N["chosen"]], axis=1),
            np.stack([later_N["rejected"], longer_N["rejected"]], axis=1),
        ),
    )
