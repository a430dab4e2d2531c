"""What the extraction benchmark compares: one module a way, loaded in a process of its own.

Every module has ``load(work, **options)``, which returns the function that is timed.
"""

from turns import Way

REFERENCE = Way("reference", "float64, transformers with hooks", "reference", "reference")
SEED = Way(
    "seed",
    "the seed: HookedTransformer 2.18, every token, gzip-4",
    "hooked_transformer",
    "peer",
    packages=("transformer-lens==2.18.0", "better-abc==0.0.3"),
)
OURS = Way("ours", "ours", "ours", "ours", {"dtype": "float32"})
LIMIT = Way("limit", "limit: the matrix products alone, F.linear", "limit", "limit", {"how": "linear"})

_RECORDER = ("steering-vectors==0.12.2",)

PEERS = (
    Way("transformers", "transformers, one by one", "one_by_one", "peer"),
    Way("transformers-16", "transformers, padded batches of 16", "padded", "peer", {"rows": 16}),
    Way("steering-vectors", "steering-vectors 0.12, one by one", "recorder", "peer", {"rows": 1}, _RECORDER),
    Way("steering-vectors-8", "steering-vectors 0.12, batches of 8", "recorder", "peer", {"rows": 8}, _RECORDER),
    Way(
        "nnsight",
        "nnsight 0.8, all layers saved, one by one",
        "traced",
        "peer",
        packages=("nnsight==0.8.0", "greenlet==3.2.4"),
    ),
    Way("bridge", "TransformerBridge 4, one by one", "bridge", "peer"),
    SEED,
    Way(
        "repeng",
        "repeng 0.4, last token and PCA",
        "representations",
        "peer",
        packages=("repeng==0.4.0",),
        asked="repeng",
    ),
    OURS,
    Way("ours-bfloat16", "ours, bfloat16", "ours", "ours", {"dtype": "bfloat16"}, asked="bfloat16"),
    LIMIT,
    Way("limit-prepacked", "limit: the same, oneDNN prepacked", "limit", "limit", {"how": "prepacked"}),
    Way(
        "limit-bfloat16",
        "limit: F.linear, bfloat16",
        "limit",
        "limit",
        {"how": "linear", "dtype": "bfloat16"},
        asked="bfloat16",
    ),
)
"""In the order in which they take turns."""
