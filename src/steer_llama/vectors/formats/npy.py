"""One ``.npy`` array from its bytes: no objects, and nothing allocated beyond what is there.

numpy's own reader evaluates the header as Python and allocates what it declares.
"""

import math
import re

import numpy as np

from steer_llama.errors import FileError

MAGIC = b"\x93NUMPY"
_DTYPE = re.compile(rb"'descr'\s*:\s*'([<>|=]?(?:[fiu][1248]|U[0-9]{1,9}))'")
_ORDER = re.compile(rb"'fortran_order'\s*:\s*(True|False)")
_SHAPE = re.compile(rb"'shape'\s*:\s*\(([0-9,\s]{0,200})\)")


def array_of(content: bytes, what: str) -> np.ndarray:
    """The array; ``what`` names it in errors.

    Raises:
        FileError: not an array, of numbers or one text, or its shape asks for other bytes than there are.
    """
    if content[:6] != MAGIC or len(content) < 12:
        raise FileError(f"{what} is no NumPy array.")
    wide = 2 if content[6] == 1 else 4
    begin = 8 + wide
    end = begin + int.from_bytes(content[8:begin], "little")
    header = content[begin:end]
    dtype, order, shape = _DTYPE.search(header), _ORDER.search(header), _SHAPE.search(header)
    if end > len(content) or dtype is None or order is None or shape is None:
        raise FileError(f"{what} has a header that is no header of an array of numbers: {header[:80]!r}.")
    sizes = tuple(int(size) for size in shape[1].replace(b" ", b"").split(b",") if size.strip())
    try:
        kind = np.dtype(dtype[1].decode("ascii"))
    except (TypeError, ValueError):
        raise FileError(f"{what} is of a type that is not known ({dtype[1].decode('ascii')}).") from None
    wanted = math.prod(sizes) * kind.itemsize
    if len(content) - end != wanted or wanted == 0:
        raise FileError(f"{what} of shape {sizes} needs {wanted:,} bytes; {len(content) - end:,} are there.")
    flat = np.frombuffer(content, dtype=kind, offset=end)
    return flat.reshape(sizes, order="F" if order[1] == b"True" else "C")
