"""Files as `torch.save` writes them, read and written without torch and without unpickling anything."""

from steer_llama.vectors.formats.torch_files.interpreter import STEERING_VECTOR, Instance, StoredTensor
from steer_llama.vectors.formats.torch_files.reading import TorchFile, is_torch_file, peek, read_torch
from steer_llama.vectors.formats.torch_files.writing import write_torch

__all__ = [
    "STEERING_VECTOR",
    "Instance",
    "StoredTensor",
    "TorchFile",
    "is_torch_file",
    "peek",
    "read_torch",
    "write_torch",
]
