"""What the extraction benchmark compares: one module a way, loaded in a process of its own.

Every module has ``load(work, **options)``, which returns the function that is timed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["reference", "peer", "ours", "limit"]


@dataclass(frozen=True)
class Peer:
    """One way to read the mean difference."""

    name: str
    """On the command line."""
    label: str
    """In the table."""
    module: str
    """Of this package."""
    kind: Kind
    options: Mapping[str, Any] = field(default_factory=dict)
    """For the module's ``load``."""
    packages: tuple[str, ...] = ()
    """Installed in a folder of their own, without dependencies, over our environment (which shares its torch)."""
    asked: str = ""
    """The flag that it needs."""


REFERENCE = Peer("reference", "float64, transformers with hooks", "reference", "reference")
SEED = Peer(
    "seed",
    "the seed: HookedTransformer 2.18, every token, gzip-4",
    "hooked_transformer",
    "peer",
    packages=("transformer-lens==2.18.0", "better-abc==0.0.3"),
)
OURS = Peer("ours", "ours", "ours", "ours", {"dtype": "float32"})
LIMIT = Peer("limit", "limit: the matrix products alone, F.linear", "limit", "limit", {"how": "linear"})

_RECORDER = ("steering-vectors==0.12.2",)

PEERS = (
    Peer("transformers", "transformers, one by one", "one_by_one", "peer"),
    Peer("transformers-16", "transformers, padded batches of 16", "padded", "peer", {"rows": 16}),
    Peer("steering-vectors", "steering-vectors 0.12, one by one", "recorder", "peer", {"rows": 1}, _RECORDER),
    Peer("steering-vectors-8", "steering-vectors 0.12, batches of 8", "recorder", "peer", {"rows": 8}, _RECORDER),
    Peer(
        "nnsight",
        "nnsight 0.8, all layers saved, one by one",
        "traced",
        "peer",
        packages=("nnsight==0.8.0", "greenlet==3.2.4"),
    ),
    Peer("bridge", "TransformerBridge 4, one by one", "bridge", "peer"),
    SEED,
    Peer(
        "repeng",
        "repeng 0.4, last token and PCA",
        "representations",
        "peer",
        packages=("repeng==0.4.0",),
        asked="repeng",
    ),
    OURS,
    Peer("ours-bfloat16", "ours, bfloat16", "ours", "ours", {"dtype": "bfloat16"}, asked="bfloat16"),
    LIMIT,
    Peer("limit-prepacked", "limit: the same, oneDNN prepacked", "limit", "limit", {"how": "prepacked"}),
    Peer(
        "limit-bfloat16",
        "limit: F.linear, bfloat16",
        "limit",
        "limit",
        {"how": "linear", "dtype": "bfloat16"},
        asked="bfloat16",
    ),
)
"""In the order in which they take turns."""
