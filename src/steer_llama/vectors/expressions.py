"""Vectors from a line of text: ``emoji + 0.5*project_out(playful, emoji)[10:20]``.

The text is parsed by Python's own parser and then walked over: names, numbers, ``+ - * /``, the functions of `algebra`
and layers in brackets. Nothing of it is ever run.
"""

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping

import numpy as np

from steer_llama.errors import ConfigError
from steer_llama.vectors import algebra, selection
from steer_llama.vectors.combination import combined
from steer_llama.vectors.origin import FUNCTIONS, is_name, origin_of
from steer_llama.vectors.vector import SteeringVector

_LENGTH = 2000
"""Characters of an expression."""
_DEPTH = 100
"""Of what stands within one another; a sum of 100 terms is as deep."""
_SHOWN = 80
"""Characters of it in an error."""

_Value = SteeringVector | float

_OF_NUMBERS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_WRONG: Mapping[type[ast.operator], str] = {
    ast.Add: "a number and a vector cannot be added; multiply it with one",
    ast.Sub: "a number and a vector cannot be subtracted; multiply it with one",
    ast.Mult: "two vectors cannot be multiplied; a number and a vector can",
    ast.Div: "nothing can be divided by a vector",
}
"""What is said of operands that an operation does not take."""


def evaluate(expression: str, vectors: Mapping[str, SteeringVector], *, any_model: bool = False) -> SteeringVector:
    """What an expression over named vectors gives.

    Args:
        expression: e.g. ``emoji + 0.5*playful - unit(formal[10:20])``.
        vectors: by name.
        any_model: accept vectors of other weights of the same width.

    Raises:
        ConfigError: it is no such expression (the place is named), or names that do not fit the vectors'.
        VectorError: its vectors do not fit together.
        LayerError: a vector has not the layers that are asked for.
    """
    text = " ".join(expression.split())
    for name in vectors:
        if not is_name(name):
            taken = "is a function's" if name in FUNCTIONS else "cannot stand in an expression"
            raise ConfigError(f"the name {name!r} {taken}: use letters, digits and _, e.g. emoji or pi_2.")
    tree = _parsed(text)
    named = {name: algebra.named(vector, name) for name, vector in vectors.items()}
    value = _Evaluation(text, named, any_model).of(tree)
    if not isinstance(value, SteeringVector):
        raise ConfigError(f"expression {_short(text)} gives the number {value:g}; expected a vector.")
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if unused := [name for name in vectors if name not in used]:
        raise ConfigError(f"expression {_short(text)} does not use {', '.join(unused)}; leave it out, or use it.")
    alone = isinstance(tree, ast.Name)
    return combined(value, value.directions_LD.astype(np.float64), origin_of(value)) if alone else value


def _parsed(text: str) -> ast.expr:
    if not text:
        raise ConfigError("the expression is empty; expected e.g. 'emoji + 0.5*playful'.")
    if len(text) > _LENGTH:
        raise ConfigError(f"the expression has {len(text):,} characters; at most {_LENGTH:,} are read.")
    try:
        with warnings.catch_warnings(action="ignore"):  # what Python thinks of the text's style
            tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        place = f", at character {error.offset}" if error.offset else ""
        raise ConfigError(f"expression {_short(text)}{place}: {error.msg}. Expected 'emoji + 0.5*playful'.") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"expression {_short(text)} cannot be read: {error}.") from None
    level: list[ast.AST] = [tree]
    for _ in range(_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree
    raise ConfigError(f"expression {_short(text)} is too deep: more than {_DEPTH} operations within one another.")


class _Evaluation:
    def __init__(self, text: str, vectors: Mapping[str, SteeringVector], any_model: bool) -> None:
        self.text, self.vectors, self.any_model = text, vectors, any_model

    def of(self, node: ast.expr) -> _Value:
        match node:
            case ast.Name(id=name):
                if name not in self.vectors:
                    known = ", ".join(self.vectors) or "none"
                    raise self._error(node, f"no vector is called {name}; there are: {known}")
                return self.vectors[name]
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self._finite(node, lambda: float(value))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.of(operand)
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(node, op, self.of(left), self.of(right))
            case ast.Subscript(value=inner, slice=layers):
                return self._vector(inner)[self._layers(layers)]
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
                return self._call(node, name, arguments)
        allowed = f"names, numbers, + - * /, layers as in a[12] or a[10:20], {', '.join(FUNCTIONS)}"
        raise self._error(node, f"not understood; there are {allowed}")

    def _binary(self, node: ast.expr, op: ast.operator, left: _Value, right: _Value) -> _Value:
        if isinstance(left, float) and isinstance(right, float) and type(op) in _OF_NUMBERS:
            return self._finite(node, lambda: _OF_NUMBERS[type(op)](left, right))
        match op, left, right:
            case ast.Add(), SteeringVector(), SteeringVector():
                return algebra.add(left, right, any_model=self.any_model)
            case ast.Sub(), SteeringVector(), SteeringVector():
                return algebra.subtract(left, right, any_model=self.any_model)
            case (ast.Mult(), SteeringVector() as vector, float() as factor) | (
                ast.Mult(),
                float() as factor,
                SteeringVector() as vector,
            ):
                return algebra.scale(vector, factor)
            case ast.Div(), SteeringVector(), float():
                return algebra.divide(left, right)
        raise self._error(node, _WRONG.get(type(op), "of the operations there are + - * and /"))

    def _call(self, node: ast.Call, name: str, arguments: list[ast.expr]) -> SteeringVector:
        one: dict[str, Callable[[SteeringVector], SteeringVector]] = {
            "unit": algebra.unit,
            "relative": algebra.relative,
        }
        two = {"project_out": algebra.project_out, "project_onto": algebra.project_onto}
        if name in one and len(arguments) == 1:
            return one[name](self._vector(arguments[0]))
        if name in two and len(arguments) == 2:
            return two[name](*map(self._vector, arguments), any_model=self.any_model)
        if name == "select" and len(arguments) > 1:
            return selection.select(self._vector(arguments[0]), map(self._layer, arguments[1:]))
        takes = "one vector" if name in one else "two vectors" if name in two else "a vector and layers"
        raise self._error(node, f"{name} takes {takes}")

    def _vector(self, node: ast.expr) -> SteeringVector:
        value = self.of(node)
        if isinstance(value, SteeringVector):
            return value
        raise self._error(node, f"is the number {value:g}; expected a vector")

    def _layers(self, node: ast.expr) -> int | slice:
        if isinstance(node, ast.Slice):
            bounds = (node.lower, node.upper, node.step)
            return slice(*(None if bound is None else self._layer(bound) for bound in bounds))
        if isinstance(node, ast.Tuple):
            raise self._error(node, "several layers are chosen by select(vector, 3, 5, 9), or by a slice, as in a[3:9]")
        return self._layer(node)

    def _layer(self, node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        raise self._error(node, "expected a layer: a whole number from 0 on")

    def _finite(self, node: ast.expr, number: Callable[[], float]) -> float:
        try:
            value = number()
        except (ZeroDivisionError, OverflowError):
            value = math.nan
        if not math.isfinite(value):
            raise self._error(node, "is no finite number")
        return value

    def _error(self, node: ast.expr, says: str) -> ConfigError:
        # Columns are counted in bytes of UTF-8.
        start = len(self.text.encode()[: node.col_offset].decode())
        part = ast.get_source_segment(self.text, node) or self.text
        return ConfigError(f"expression {_short(self.text)}, at character {start + 1} ({_short(part)}): {says}.")


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
