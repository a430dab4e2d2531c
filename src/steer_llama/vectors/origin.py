"""Where a combined vector comes from: the expression, and the vectors in it by name."""

import keyword
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from steer_llama.vectors.vector import SteeringVector

Units = Literal["residual", "unit"]
"""``unit``: normalised, as repeng writes vectors, or built of such ones; ``residual``: as long as it was measured."""

FUNCTIONS = ("project_onto", "project_out", "relative", "select", "unit")
"""Names that mean something in an expression, so that no vector can have them there."""

SUM, PRODUCT, ATOM = 0, 1, 2
"""How tightly an expression's outermost operation binds."""

_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Origin:
    """An expression over vectors, which is evaluated already."""

    expression: str
    binding: int
    """Of its outermost operation."""
    parents: Mapping[str, "SteeringVector"]
    """The vectors in it that are no combinations themselves, by their names in the expression."""
    units: Units
    notes: tuple[str, ...] = ()
    """What was assumed: a sentence each."""

    def within(self, binding: int) -> str:
        """The expression, in parentheses where the operation around it binds more tightly."""
        bare = self.binding >= binding and not (binding == PRODUCT and self.expression.startswith("-"))
        return self.expression if bare else f"({self.expression})"


def origin_of(vector: "SteeringVector") -> Origin:
    """How a vector was combined; one that was not is called by its trait."""
    return vector.origin or leaf(vector, _name_of(vector.trait))


def leaf(vector: "SteeringVector", name: str) -> Origin:
    """A vector that stands for itself under a name."""
    return Origin(name, ATOM, {name: vector}, _units(vector))


def beside(left: Origin, right: Origin) -> Origin:
    """The right one, with other names where the left one has them for other vectors."""
    renamed: dict[str, str] = {}
    taken = {*left.parents, *right.parents}
    for name, vector in right.parents.items():
        same = [key for key, other in left.parents.items() if other is vector]
        renamed[name] = same[0] if same else _free(name, taken) if name in left.parents else name
        taken.add(renamed[name])
    expression = re.sub(r"\b[^\W\d]\w*", lambda found: renamed.get(found[0], found[0]), right.expression)
    parents = {renamed[name]: vector for name, vector in right.parents.items()}
    return Origin(expression, right.binding, parents, right.units, right.notes)


def rewritten(origin: Origin, expression: str, binding: int, units: Units | None = None) -> Origin:
    """The same vectors in another expression."""
    return replace(origin, expression=expression, binding=binding, units=units or origin.units)


def is_name(text: str) -> bool:
    """Whether a vector can be called so in an expression."""
    normal = unicodedata.normalize("NFKC", text) == text  # Python's parser would change it, and not find it then
    return text.isidentifier() and normal and not keyword.iskeyword(text) and text not in FUNCTIONS


def _name_of(trait: str) -> str:
    name = re.sub(r"\W+", "_", unicodedata.normalize("NFKC", trait)).strip("_")
    return name if is_name(name) else f"v_{name}".rstrip("_")


def _free(name: str, taken: set[str]) -> str:
    return next(free for number in count(2) if (free := f"{name}_{number}") not in taken)


def _units(vector: "SteeringVector") -> Units:
    """What the file says, if it is a combination; else what the numbers say."""
    combination = vector.evidence.get("combination")
    if isinstance(combination, dict) and combination.get("units") in ("residual", "unit"):
        units: Units = combination["units"]
        return units
    norms_L = np.linalg.norm(vector.directions_LD.astype(np.float64), axis=1)
    norms_L = norms_L[norms_L > 0]
    return "unit" if norms_L.size and bool((np.abs(norms_L - 1) < _UNIT_TOLERANCE).all()) else "residual"
