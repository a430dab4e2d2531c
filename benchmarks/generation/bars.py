"""What the measurement of generation is judged by."""

from collections.abc import Iterator, Mapping
from statistics import median

from generation.rounds import Measured

_SLOWER = 0.02
"""Share of its speed that our engine may lose by steering."""

By = Mapping[tuple[str, str], Measured]


def bars(measured: By) -> Iterator[str]:
    """One line a bar; a bar whose ways did not run is named and not judged."""
    ran = {names: each for names, each in measured.items() if each.ran}
    plain, theirs = ran.get(("ours", "plain")), ran.get(("transformers", "plain"))
    for rows in ("steered", "mixed"):
        steered = ran.get(("ours", rows))
        if plain is None or steered is None:
            yield _missing(f"ours {rows} / plain", "ours")
            continue
        # Of each round, since the two stand next to each other in it and the machine drifts.
        lost = [1 - there / here for here, there in zip(plain.speeds, steered.speeds, strict=True)]
        each = ", ".join(f"{share:+.1%}" for share in lost)
        text = f"ours {rows} is {median(lost):+.1%} slower than plain (rounds {each}), wanted <= {_SLOWER:.0%}"
        yield _line(text, median(lost) <= _SLOWER)
    yield _over("ours plain", plain, "transformers plain", theirs)
    steered = ran.get(("ours", "steered"))
    peers = [each for (_, rows), each in measured.items() if rows == "steered" and each.way.kind != "ours"]
    for peer in peers:
        yield _over("ours steered", steered, f"{peer.way.name} steered", peer if peer.ran else None)


def same_answers(one: Measured, reference: Measured) -> int:
    """How many rows have the reference's text and number of tokens."""
    return sum(ours == theirs for ours, theirs in zip(one.answers, reference.answers, strict=True))


def _over(name: str, one: Measured | None, other_name: str, other: Measured | None) -> str:
    if one is None or other is None:
        return _missing(f"{name} / {other_name}", name if one is None else other_name)
    ratio = one.speed / other.speed
    return _line(f"{name} / {other_name} {ratio:.2f}, wanted >= 1", ratio >= 1)


def _line(text: str, met: bool) -> str:
    return f"bar: {text}: {'met' if met else 'NOT met'}"


def _missing(text: str, who: str) -> str:
    return f"bar: {text}: not judged, {who} did not run"
