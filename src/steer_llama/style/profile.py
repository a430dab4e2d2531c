"""The style profile of a set of texts."""

from collections.abc import Iterable

from steer_llama.style.features import measure


def mean_profile(texts: Iterable[str]) -> dict[str, float]:
    """Mean of each feature over the texts, every text with equal weight; of no texts at all, nothing (``{}``)."""
    profiles = [measure(text) for text in texts]
    if not profiles:
        return {}
    return {name: sum(profile[name] for profile in profiles) / len(profiles) for name in profiles[0]}
