"""What reading a model takes, from its configuration alone: parameters, bytes, floating-point operations, seconds."""

from steer_llama.lm.sizing.gemm import measured_tflops
from steer_llama.lm.sizing.machine import CPU, GPUS, Device, parse_gpus, this_cpu
from steer_llama.lm.sizing.memory import DeviceBytes, activation_bytes, fits, memory_of, possible_counts, smallest_count
from steer_llama.lm.sizing.shape import BlockShape, ModelShape, Part, shape_of
from steer_llama.lm.sizing.source import read_shape, tokenizer_of
from steer_llama.lm.sizing.text import Text, text_of_pairs, uniform_text
from steer_llama.lm.sizing.work import FileBytes, Seconds, Work, file_of, pairs_per_pass, passes_of, time_of, work_of

__all__ = [
    "CPU",
    "GPUS",
    "BlockShape",
    "Device",
    "DeviceBytes",
    "FileBytes",
    "ModelShape",
    "Part",
    "Seconds",
    "Text",
    "Work",
    "activation_bytes",
    "file_of",
    "fits",
    "measured_tflops",
    "memory_of",
    "pairs_per_pass",
    "parse_gpus",
    "passes_of",
    "possible_counts",
    "read_shape",
    "shape_of",
    "smallest_count",
    "text_of_pairs",
    "this_cpu",
    "time_of",
    "tokenizer_of",
    "uniform_text",
    "work_of",
]
