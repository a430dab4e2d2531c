"""Everyday subjects, so that questions that are asked for in several calls do not all turn on the same ones."""

TOPICS = (
    "cooking", "sleep", "trains", "friendship",
    "gardening", "the weather", "school", "pets",
    "money", "music", "health", "the sea",
    "neighbors", "computers", "history", "birthdays",
    "sport", "stars and planets", "cleaning", "books",
    "work", "insects", "holidays", "languages",
    "the human body", "bicycles", "breakfast", "forests",
    "shopping", "films", "children", "electricity",
    "mountains", "phones", "art", "moving house",
    "rivers", "fashion", "memory", "time",
)  # fmt: skip


def topics(asked: int, count: int) -> tuple[str, ...]:
    """``count`` subjects (at most all) for the request that ``asked`` others went before."""
    count = min(count, len(TOPICS))
    start = asked * count
    return tuple(TOPICS[(start + number) % len(TOPICS)] for number in range(count))
