"""Accelerators: memory and speed, from the vendors' data sheets."""

import difflib
import re
from dataclasses import dataclass

from steer_llama.errors import ConfigError
from steer_llama.lm.machine_memory import total_bytes

CPU = "cpu"


@dataclass(frozen=True)
class Device:
    """One GPU, or this machine's processor."""

    name: str
    memory_gib: float
    """What a program can have, in GiB: the whole as the driver reports it, a little less than is printed on the box."""
    bfloat16: float | None
    """Dense TFLOP/s; ``None`` where there are no units for it."""
    float16: float | None
    float32: float
    """Of the plain units, not TF32: PyTorch's matrix products are exact in float32 unless told otherwise."""
    bandwidth: float | None
    """Of its memory, GB/s; ``None`` where nobody said."""
    link: float | None
    """To its neighbours, GB/s in one direction."""

    def tflops(self, dtype: str) -> float:
        """Dense TFLOP/s in a type.

        Raises:
            ConfigError: there are no units for it.
        """
        speed = {"bfloat16": self.bfloat16, "float16": self.float16, "float32": self.float32}[dtype]
        if speed is None:
            raise ConfigError(f"{self.name} has no units for {dtype}. Use --dtype float16 or float32.")
        return speed


# Tensor-core figures are the dense ones with float32 accumulation: data sheets that print "with sparsity" are halved.
# A100: NVIDIA A100 data sheet (SXM; NVLink 600 GB/s both ways). H100, H100-PCIe, H200: H100 and H200 data sheets.
# B200: HGX B200 data sheet over 8. L40S, L4, A10, T4: their data sheets. RTX: GA102 and Ada white papers.
# V100: V100 data sheet (SXM2). MI300X: AMD's data sheet (Infinity Fabric 7 × 64 GB/s; float32 of the vector units).
# Links: NVLink where there is one, else PCIe x16 (gen 3: 16, gen 4: 32, gen 5: 64 GB/s one way).
GPUS = {
    device.name: device
    for device in (
        Device("A100-40", 39.4, 312, 312, 19.5, 1555, 300),
        Device("A100-80", 79.1, 312, 312, 19.5, 2039, 300),
        Device("H100", 79.1, 989, 989, 67, 3350, 450),
        Device("H100-PCIe", 79.1, 756, 756, 51, 2000, 64),
        Device("H200", 139.8, 989, 989, 67, 4800, 450),
        Device("B200", 178.3, 2250, 2250, 75, 7700, 900),
        Device("L40S", 44.4, 362, 362, 91.6, 864, 32),
        Device("A10", 22.0, 125, 125, 31.2, 600, 32),
        Device("L4", 22.0, 121, 121, 30.3, 300, 32),
        Device("RTX-4090", 23.5, 165, 165, 82.6, 1008, 32),
        Device("RTX-3090", 23.5, 71, 71, 35.6, 936, 32),
        Device("T4", 14.5, None, 65, 8.1, 320, 16),
        Device("V100-16", 15.7, None, 125, 15.7, 900, 150),
        Device("V100-32", 31.7, None, 125, 15.7, 900, 150),
        Device("MI300X", 191.5, 1307, 1307, 163.4, 5300, 448),
    )
}


def parse_gpus(text: str) -> tuple[int, str]:
    """Read ``8xH100``, ``H100`` or ``cpu``: how many, and the name in `GPUS` (or ``cpu``).

    Raises:
        ConfigError: another form, none of them, or an unknown name.
    """
    match = re.fullmatch(r"\s*(?:(\d+)\s*[x×*]\s*)?([A-Za-z0-9].*?)\s*", text)
    if match is None:
        raise ConfigError(f"--gpus {text!r}: expected a count and a GPU, e.g. 8xH100, or cpu.")
    count, name = int(match[1] or 1), match[2]
    if count == 0:
        raise ConfigError(f"--gpus {text}: expected one GPU or more, e.g. 1x{name}.")
    known = {_plain(each): each for each in (*GPUS, CPU)}
    found = known.get(_plain(name))
    if found is None:
        near = [known[each] for each in difflib.get_close_matches(_plain(name), known, n=2)]
        near = [each for key, each in known.items() if _plain(name) in key] or near
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(f"--gpus {text}: there is no figure for {name!r}.{hint} Known: {', '.join((*GPUS, CPU))}.")
    if found == CPU and count > 1:
        raise ConfigError(f"--gpus {text}: the processor is counted once. Use --gpus cpu.")
    return count, found


def this_cpu(dtype: str, tflops: float) -> Device:
    """This machine as a device of the given speed."""
    speeds: dict[str, float | None] = {"bfloat16": None, "float16": None, dtype: tflops}
    return Device(CPU, total_bytes() / 2**30, speeds["bfloat16"], speeds["float16"], tflops, None, None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]|nvidia|geforce|tesla|sxm|gb$", "", name.lower())
