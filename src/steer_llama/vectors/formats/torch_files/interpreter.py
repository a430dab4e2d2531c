"""The pickle inside a file of torch's, followed step by step on values that do nothing.

A pickle is a program for a small machine. This one knows the few steps that `torch.save` writes, holds its values as
plain Python values and the two records below, and calls nothing that the file names. `torch.load(weights_only=True)` is
not used, because it lets a file call `bytearray`, build keys whose hash takes for ever, and read the archive with a
second parser.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from steer_llama.errors import FileError

DTYPES = {
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.DoubleStorage": "float64",
}
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_ORDERED = "collections.OrderedDict"
STEERING_VECTOR = "steering_vectors.steering_vector.SteeringVector"
_KNOWN = {*DTYPES, _TENSOR, _PARAMETER, _ORDERED, STEERING_VECTOR}
_MAX_PICKLE = 1 << 19
"""Bytes, each up to a microsecond's work; a vector of 128 layers takes fifteen thousand."""
_MAX_AXES = 8


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as its file describes it: a view of the archive's entry ``data/{key}``."""

    key: str
    dtype: str
    n_stored: int
    """Numbers in that entry, as the pickle declares."""
    offset: int
    """Numbers before the first one, like the strides."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def n_numbers(self) -> int:
        """How many numbers the tensor has."""
        count = 1
        for size in self.shape:
            count *= size
        return count


@dataclass
class Instance:
    """An object of a class that we know by name, and its attributes; no such class is imported."""

    name: str
    state: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    n_stored: int


def interpret(pickled: bytes) -> Any:
    """The value of a torch file's pickle: dicts, lists, tuples, plain values, `StoredTensor` and `Instance`.

    Raises:
        FileError: it asks for anything but tensors of numbers, or is damaged.
    """
    if len(pickled) > _MAX_PICKLE:
        raise FileError(f"its pickle has {len(pickled)} bytes; a vector's has a few thousand.")
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name == "STOP":
                return machine.stack.pop()
            step = _STEPS.get(opcode.name)
            if step is None:
                raise FileError(
                    f"its pickle has a step {opcode.name}, which torch.save does not write. Load it where you trust it "
                    "and save it again with torch.save."
                )
            step(machine, argument)
    # What a damaged pickle makes of the parser and of the stack.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise FileError(f"its pickle is damaged ({type(error).__name__}).") from error
    raise FileError("its pickle has no end.")


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise TypeError
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Nothing else is hashed: tuples of tuples may take for ever.
            if type(key) not in (str, int):
                raise FileError("a dict in it has keys that are neither text nor whole numbers.")
            target[key] = value

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError
        self.stack[-1].extend(items)

    def name(self, argument: str) -> None:
        name = argument.replace(" ", ".", 1)
        if name not in _KNOWN:
            raise FileError(
                f"it asks for {name[:80]!r}, which no vector needs; nothing was run. Tensors of float32, float16, "
                "bfloat16 or float64 are read, alone or in a dict."
            )
        self.push(_Global(name))

    def storage(self) -> None:
        kind, storage_type, key, _location, count = self.stack.pop()
        if kind != "storage" or type(storage_type) is not _Global or type(key) is not str or type(count) is not int:
            raise TypeError
        self.push(_Storage(key, DTYPES[storage_type.name], count))

    def call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(arguments) is not tuple or type(function) is not _Global:
            raise TypeError
        if function.name == _TENSOR:
            self.push(_tensor(*arguments[:4]))
        elif function.name == _PARAMETER and type(arguments[0]) is StoredTensor:
            self.push(arguments[0])
        elif function.name == _ORDERED and not arguments:
            self.push({})
        else:
            raise TypeError

    def new_object(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if arguments != () or type(kind) is not _Global or kind.name != STEERING_VECTOR:
            raise TypeError
        self.push(Instance(kind.name))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(state) is not dict:
            raise TypeError
        if type(target) is Instance:
            target.state = state  # not copied: a file may say so a million times
        elif type(target) is not dict:  # an OrderedDict's own attributes say nothing
            raise TypeError


def _tensor(storage: object, offset: object, shape: object, strides: object) -> StoredTensor:
    """A view of a storage, refused where it reaches beyond it or repeats numbers."""
    if type(storage) is not _Storage or type(offset) is not int:
        raise TypeError
    shape, strides = _whole_numbers(shape), _whole_numbers(strides)
    if len(shape) != len(strides) or len(shape) > _MAX_AXES or offset < 0:
        raise ValueError
    tensor = StoredTensor(storage.key, storage.dtype, storage.n_stored, offset, shape, strides)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if tensor.n_numbers > storage.n_stored:
        raise FileError(
            f"a tensor of {tensor.n_numbers} numbers is spread over {storage.n_stored} stored ones (an expanded "
            "tensor?). Save tensor.clone() instead."
        )
    if tensor.n_numbers and last >= storage.n_stored:
        raise FileError(f"a tensor reaches number {last} of {storage.n_stored} stored ones.")
    return tensor


def _whole_numbers(values: object) -> tuple[int, ...]:
    if type(values) is not tuple or any(type(value) is not int or value < 0 for value in values):
        raise TypeError
    return values


def _push(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


def _put(machine: _Machine, argument: int) -> None:
    machine.memo[argument] = machine.stack[-1]


def _get(machine: _Machine, argument: int) -> None:
    machine.push(machine.memo[argument])


def _protocol(_machine: _Machine, argument: int) -> None:
    if argument != 2:
        raise FileError(f"its pickle is of protocol {argument}; torch.save writes 2. Save it again without a protocol.")


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _protocol,
    **dict.fromkeys(("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _push),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _get),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "MARK": lambda machine, _: machine.mark(),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "GLOBAL": lambda machine, argument: machine.name(argument),
    "BINPERSID": lambda machine, _: machine.storage(),
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.new_object(),
    "BUILD": lambda machine, _: machine.build(),
}
