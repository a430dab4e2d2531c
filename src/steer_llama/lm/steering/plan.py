"""The steering of a whole batch, sorted by layer, so that one forward pass serves every row.

Shapes: N rows, G rows of a group, R tokens of a pass, D width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steer_llama.errors import SteeringInactiveError
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering.effects import EFFECTS, Given
from steer_llama.lm.steering.spec import Mode, RowSteering, Steering, check, interventions

_NO_END = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Places:
    """Which tokens a pass computes."""

    row_R: Tensor
    """The row that each belongs to."""
    after_R: Tensor
    """Its distance from the first token of the row's answer; below zero in the prompt."""

    def first(self, count: int) -> "Places":
        """Those of the first rows."""
        return self if count == len(self.row_R) else Places(self.row_R[:count], self.after_R[:count])

    def on(self, device: torch.device) -> "Places":
        """The same on a device."""
        if self.row_R.device == device:
            return self
        return Places(self.row_R.to(device), self.after_R.to(device))


class Plan:
    """What is done to the rows of a batch; made anew when the rows change."""

    def __init__(self, model: LanguageModel, rows: Sequence[RowSteering]) -> None:
        """Check and sort the rows' steering.

        Raises:
            LayerError: a layer that the model does not have.
            VectorError: a vector that does not fit the model.
            ConfigError: bounds, a gate or a half-life without sense.
        """
        self.n_rows = len(rows)
        self._width = model.width
        wanted: dict[tuple[int, int, Mode, int | None], list[tuple[int, Steering]]] = {}
        plain: dict[int, list[tuple[int, Tensor]]] = {}
        for row, given in enumerate(rows):
            taken: dict[int, int] = {}
            for each in interventions(given):
                check(each, model.n_layers, model.width, model.name)
                if each.plain and each.layer not in taken:
                    plain.setdefault(each.layer, []).append((row, each.vector_D))
                    continue
                # A row's interventions at one layer follow each other; the rows' n-th ones go together.
                turn = taken[each.layer] = taken.get(each.layer, -1) + 1
                wanted.setdefault((each.layer, turn, each.mode, each.gate_layer), []).append((row, each))
        self._plain = {layer: self._summed_ND(added, model) for layer, added in plain.items()}
        self._groups: dict[int, list[_Group]] = {}
        for layer, turn, mode, gate_layer in sorted(wanted, key=lambda key: (key[0], key[1], key[2], key[3] or 0)):
            members = wanted[layer, turn, mode, gate_layer]
            group = _Group(mode, members, self.n_rows, gate_layer, model.device)
            self._groups.setdefault(layer, []).append(group)
        self._gated: dict[int, list[_Group]] = {}
        for groups in self._groups.values():
            for group in groups:
                if group.gate_layer is not None:
                    self._gated.setdefault(group.gate_layer, []).append(group)
        self.layers = tuple(sorted({*self._plain, *self._groups, *self._gated}))
        """Whose output `edit` has to be given, in every pass."""
        self.needs_places = bool(self._groups)
        """Whether it matters where in its conversation a token stands."""
        self._passed: set[int] = set()

    def edit(self, layer: int, hidden_RD: Tensor, places: Places) -> Tensor:
        """The residual stream after what is done to it at a layer; another tensor than the one given.

        ``places`` may tell of more rows than there are at that layer; the first ones count.
        """
        self._passed.add(layer)
        here = places.first(len(hidden_RD)).on(hidden_RD.device)
        for group in self._gated.get(layer, ()):
            group.decide(hidden_RD, here)
        if (added_ND := self._plain.get(layer)) is not None:
            hidden_RD = hidden_RD + added_ND.to(hidden_RD.device, hidden_RD.dtype)[here.row_R]
        for group in self._groups.get(layer, ()):
            hidden_RD = group.applied(hidden_RD, here)
        return hidden_RD

    def check_passed(self) -> None:
        """Make sure that every layer was edited since the last call.

        Raises:
            SteeringInactiveError: one was not, so the text is not steered.
        """
        silent = sorted(set(self.layers) - self._passed)
        self._passed.clear()
        if silent:
            raise SteeringInactiveError(f"the hooks of layers {silent} never ran, so the text is not steered.")

    def _summed_ND(self, added: Sequence[tuple[int, Tensor]], model: LanguageModel) -> Tensor:
        double = any(vector_D.dtype == torch.float64 for _, vector_D in added)
        sum_ND = torch.zeros(self.n_rows, self._width, dtype=torch.float64 if double else torch.float32)
        for row, vector_D in added:
            sum_ND[row] += vector_D.to(sum_ND)
        return sum_ND.to(model.device)


class _Group:
    """The rows that have the same kind of intervention as their n-th one at a layer."""

    def __init__(
        self,
        mode: Mode,
        members: Sequence[tuple[int, Steering]],
        n_rows: int,
        gate_layer: int | None,
        device: torch.device,
    ) -> None:
        self.gate_layer = gate_layer
        self._mode: Mode = mode
        self._passes_R: Tensor | None = None
        self._member_N = torch.full((n_rows,), -1)
        self._member_N[[row for row, _ in members]] = torch.arange(len(members))
        each = [steering for _, steering in members]
        self._vector_GD = torch.stack([_as_needed(one.vector_D, mode) for one in each])
        bounds = [
            (
                -_NO_END if one.span.start is None else one.span.start,
                _NO_END if one.span.stop is None else one.span.stop,
            )
            for one in each
        ]
        self._start_G, self._stop_G = torch.tensor(bounds).T
        dtype = self._vector_GD.dtype
        numbers = [
            (
                -math.inf if one.low is None else one.low,
                math.inf if one.high is None else one.high,
                math.inf if one.half_life is None else one.half_life,
            )
            for one in each
        ]
        self._low_G, self._high_G, self._half_life_G = torch.tensor(numbers, dtype=dtype).T
        gates = [one.gate for one in each if one.gate is not None]
        self._gates = None
        if gates:
            self._gates = (
                torch.stack([_unit(gate.vector_D) for gate in gates]),
                torch.tensor([gate.threshold for gate in gates], dtype=dtype),
                torch.tensor([gate.above for gate in gates]),
            )
        self._to(device)

    def _to(self, device: torch.device) -> None:
        for name in ("_member_N", "_vector_GD", "_start_G", "_stop_G", "_low_G", "_high_G", "_half_life_G"):
            setattr(self, name, getattr(self, name).to(device))
        if self._gates is not None:
            vector_GD, threshold_G, above_G = self._gates
            self._gates = (vector_GD.to(device), threshold_G.to(device), above_G.to(device))

    def decide(self, hidden_RD: Tensor, places: Places) -> None:
        """Remember which tokens pass their gate, from the output of the gate's layer."""
        assert self._gates is not None, "only gated groups are asked"
        self._to(hidden_RD.device)
        vector_GD, threshold_G, above_G = self._gates
        member_R = self._member_N[places.row_R].clamp(min=0)
        found_R = (hidden_RD.to(vector_GD.dtype) * vector_GD[member_R]).sum(dim=-1)
        self._passes_R = (found_R >= threshold_G[member_R]) == above_G[member_R]

    def applied(self, hidden_RD: Tensor, places: Places) -> Tensor:
        """The residual stream with the group's tokens changed."""
        self._to(hidden_RD.device)
        chosen_R = self._member_N[places.row_R]
        member_R = chosen_R.clamp(min=0)
        inside_R = (chosen_R >= 0) & (places.after_R >= self._start_G[member_R])
        inside_R &= places.after_R < self._stop_G[member_R]
        if self.gate_layer is not None:
            assert self._passes_R is not None, "a gate decides before its group steers"
            # Rows that have joined since are others': those of the group were there when the gate decided.
            inside_R[: len(self._passes_R)] &= self._passes_R.to(inside_R.device)
        scale_R1 = torch.exp2(-places.after_R.clamp(min=0)[:, None] / self._half_life_G[member_R, None])
        given = Given(
            self._vector_GD[member_R],
            scale_R1.to(self._vector_GD.dtype),
            self._low_G[member_R, None],
            self._high_G[member_R, None],
        )
        wide_RD = hidden_RD.to(torch.promote_types(hidden_RD.dtype, self._vector_GD.dtype))
        changed_RD = EFFECTS[self._mode](wide_RD, given).to(hidden_RD.dtype)
        return torch.where(inside_R[:, None], changed_RD, hidden_RD)


def _as_needed(vector_D: Tensor, mode: Mode) -> Tensor:
    vector_D = vector_D.to(torch.promote_types(vector_D.dtype, torch.float32))
    return vector_D if mode in ("add", "keep_norm") else _unit(vector_D)


def _unit(vector_D: Tensor) -> Tensor:
    wide_D = vector_D.double()
    unit_D = wide_D / torch.linalg.vector_norm(wide_D)
    return unit_D.to(torch.promote_types(vector_D.dtype, torch.float32))
