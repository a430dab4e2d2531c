"""The summary that `run` and `demo` end with."""

from itertools import pairwise

import pytest
from rich.console import Console

from steer_llama.cli.running import _arms_table
from steer_llama.records import Verdict, as_json
from tests.evaluation.test_page import confirmed, verdict_of
from tests.evaluation.whole import everything, judged


def printed(verdict: Verdict, width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(_arms_table(verdict, width))
    return capture.get().splitlines()


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    return judged(everything())


@pytest.mark.parametrize("width", [110, 100, 80, 60, 44])
def test_it_fits_and_its_figures_stay_whole(verdict: Verdict, width: int) -> None:
    lines = printed(verdict, width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    steered = next(arm for arm in verdict.arms if arm.arm == "steered")
    assert steered.fidelity is not None
    closed = steered.fidelity.closed
    assert f"{100 * closed.mean:.0f}% [{100 * closed.low:.0f}, {100 * closed.high:.0f}]" in text
    assert "llama, steered" in text


def test_what_goes_first_where_there_is_no_room(verdict: Verdict) -> None:
    words = ("perplexity", "score", "lift,", "wrong way", "coherence", "emoji ", "style gap")
    # The title and the names of the arms are no headings.
    headings = {width: "\n".join(printed(verdict, width)[2:4]) for width in (150, 110, 90, 80, 66, 54, 44)}
    shown = [[word for word in words if word in headings[width]] for width in headings]
    assert shown[0] == list(words)
    assert shown[-1] == ["style gap"]
    for wider, narrower in pairwise(shown):
        assert narrower == wider[len(wider) - len(narrower) :], "in the order of the words"


def test_the_wrong_way_with_its_ties(verdict: Verdict) -> None:
    turned = next(arm for arm in verdict.arms if arm.arm == "turned")
    assert turned.anti_steered is not None
    share, tied = turned.anti_steered.share.mean, turned.anti_steered.tied.mean
    assert 0 < share < 1
    assert f"{100 * share:.0f}% / {100 * tied:.0f}%" in "\n".join(printed(verdict, 110))


def test_what_was_not_measured_has_no_column() -> None:
    text = "\n".join(printed(verdict_of(confirmed()), 110))
    assert "style gap" not in text
    assert "emoji" in text
    judged_only = as_json(verdict_of(confirmed()))
    for arm in judged_only["arms"]:
        arm["lift_share"] = None
        arm["measured"]["share"] = {"mean": None, "low": None, "high": None, "n": 0}
    text = "\n".join(printed(Verdict.model_validate(judged_only), 60))
    assert "score" in text
    assert "with" not in text
