"""Messages over a pipe: one line of JSON, then plain arrays. No pickle, and nothing but numpy on either side."""

import json
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def send(stream: BinaryIO, told: dict[str, Any], arrays: Sequence[Array] = ()) -> None:
    """Write one message.

    Raises:
        OSError: nobody reads any more.
    """
    line = {**told, "arrays": [[array.dtype.str, array.shape] for array in arrays]}
    stream.write(json.dumps(line).encode() + b"\n")
    for array in arrays:
        stream.write(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], list[Array]]:
    """Read one message.

    Raises:
        EOFError: the other side has closed the pipe, also in the middle of a message.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    told = json.loads(line)
    arrays = []
    for dtype, shape in told.pop("arrays"):
        kind = np.dtype(dtype)
        data = stream.read(kind.itemsize * int(np.prod(shape, dtype=np.int64)))
        if len(data) != kind.itemsize * int(np.prod(shape, dtype=np.int64)):
            raise EOFError
        arrays.append(np.frombuffer(data, kind).reshape(shape))
    return told, arrays
