"""Runs in the environment of scripts/local-llama-cpp: the logits of given tokens, by llama.cpp's Python binding.

Usage: python logits.py MODEL.gguf IDS.npy OUT.npy
"""

import sys

import llama_cpp
import numpy as np


def main(model: str, ids_path: str, out: str) -> None:
    ids = np.load(ids_path).tolist()
    # Keys and values in float32 and plain attention: llama.cpp rounds them to half precision otherwise.
    llm = llama_cpp.Llama(
        model,
        n_ctx=len(ids),
        n_batch=len(ids),
        n_threads=1,
        n_threads_batch=1,
        logits_all=True,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        flash_attn=False,
        verbose=False,
    )
    llm.eval(ids)
    np.save(out, np.array(llm.scores[: len(ids)], np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:])
