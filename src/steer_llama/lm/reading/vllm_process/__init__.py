"""The backend ``vllm`` for an installed vLLM: a worker with that environment's own Python runs the weights."""

from steer_llama.lm.reading.vllm_process.reader import VllmReader, open_vllm

__all__ = ["VllmReader", "open_vllm"]
