"""The files of answers and pairs: ``results.json``, ``filtered.json``, and other people's DPO data."""

from steer_llama.pairs.arms import Arms
from steer_llama.pairs.filtered import read_filtered
from steer_llama.pairs.preferences import write_preferences
from steer_llama.pairs.reading import ReadPairs, read_pairs
from steer_llama.pairs.results import ReadResults, read_results, write_filtered, write_results

__all__ = [
    "Arms",
    "ReadPairs",
    "ReadResults",
    "read_filtered",
    "read_pairs",
    "read_results",
    "write_filtered",
    "write_preferences",
    "write_results",
]
