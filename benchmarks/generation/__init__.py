"""What the generation benchmarks compare: one module a way, loaded in a process of its own.

Every module has ``load(work, **options)``, which returns the function that is timed.
"""

from turns import Way

HOOK = Way("transformers", "transformers, a forward hook", "hook", "reference")
OURS = Way("ours", "ours", "ours", "ours", {"dtype": "float32"})

_HOOKED = ("transformer-lens==2.18.0", "better-abc==0.0.3")
_STEERING_VECTORS = ("steering-vectors==0.12.2",)

WAYS = (
    HOOK,
    OURS,
    Way("repeng", "repeng 0.4", "repeng_control", "peer", packages=("repeng==0.4.0",)),
    Way("steering-vectors", "steering-vectors 0.12", "applied", "peer", packages=_STEERING_VECTORS),
    Way("nnsight", "nnsight 0.8", "traced", "peer", packages=("nnsight==0.8.0", "greenlet==3.2.4")),
    Way("bridge", "TransformerBridge 4", "bridge", "peer"),
    Way("hooked-transformer", "HookedTransformer 2.18", "hooked_transformer", "peer", packages=_HOOKED),
)
"""Of `steer.py`, in the order in which they take turns."""

LOOP = Way("loop", "a loop over steering-vectors 0.12", "applied", "peer", {"rows": 12}, packages=_STEERING_VECTORS)
SEED = Way("seed", "the seed's loop, HookedTransformer 2.18", "seed", "peer", packages=_HOOKED)

SEED_PLAIN = Way("seed-plain", "the seed's loop, over plain transformers", "seed_plain", "peer")
"""In its place where that cannot be installed."""

SWEEP_WAYS = (OURS, LOOP, SEED)
"""Of `sweep.py`."""
