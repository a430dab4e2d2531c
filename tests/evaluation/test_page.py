import re
from html.parser import HTMLParser
from typing import Any

import pytest

from steer_llama.evaluation import judge_sweep
from steer_llama.evaluation.page import render_report
from steer_llama.evaluation.shown import evidence_series
from steer_llama.records import Trial, Verdict
from tests.evaluation.trials import trials

HOSTILE = '<script>alert("x")</script><img src=x onerror=alert(1)> & **bold**\nnext line 🎉'
EVIDENCE: dict[str, Any] = {
    "estimator": "mean_diff",
    "positions": "chosen=emoji,rejected=response",
    "pairs": 27,
    "layers": [2, 3, 4],
    "norm": [1.0, 2.0, 3.0],
    "residual_norm": [10.0, 10.0, 0.0],
    "bootstrap_cosine": {"mean": [0.9, 0.9, 0.8], "low": [0.8, 0.8, 0.7], "high": [1.0, 1.0, 0.9]},
    "split_half_cosine": [0.7, None, 0.6],
    "null_norm": [0.5, 1.0, 2.0],
    "held_out_auroc": [0.9, 1.0, 0.8],
    "fallback": {"chosen": 2, "rejected": 27},
}


class Page(HTMLParser):
    """Elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in {"script", "style"}:
            self.text += data


def verdict_of(every: list[Trial], **names: Any) -> Verdict:
    settings: dict[str, Any] = {"trait": "emoji", "metric": "emoji", "model": "tiny", "source_name": "pi"} | names
    return judge_sweep(
        every, target_name="llama", wanted="more", min_coherence=60, bootstrap=50, seed=0, objective="trait", **settings
    )


def swept(nats: float = 1.1, text: str = "plain words of an answer 🎉") -> list[Trial]:
    every = trials("unsteered", [0] * 3)
    for layer in (2, 3):
        for strength in (0.1, 0.2):
            every += trials(
                "steered", [300 * strength] * 3, layer=layer, strength=strength, nats=nats + strength, text=text
            )
    return every


def confirmed(text: str = "plain words of an answer 🎉", **more: Any) -> list[Trial]:
    every = swept(text=text)
    winner = verdict_of(every).winner
    assert winner is not None
    place = {"layer": winner.layer, "strength": winner.strength}
    every += trials("unsteered", [0] * 8, split="test")
    every += trials("steered", [80] * 8, split="test", text=text, **place, **more)
    every += trials("random", [0] * 8, split="test", direction=0, **place)
    return every + trials("source", [95] * 8, split="test", text=text)


@pytest.fixture(scope="module")
def report() -> str:
    every = confirmed(text=HOSTILE, features={"emoji": 3.0})
    return render_report(verdict_of(every), every, EVIDENCE, 4, "Emoji: pi to llama")


def test_needs_no_network(report: str) -> None:
    page = Page(report)
    for tag, attributes in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        assert not {"src", "action", "data", "srcset"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith("#")
    style = re.findall(r"<style>(.*?)</style>", report, re.DOTALL)[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in report


def test_has_plotly_once_and_every_picture(report: str) -> None:
    assert report.count("Licensed under the MIT license") >= 1
    assert len([tag for tag, _ in Page(report).elements if tag == "script"]) == 2 + 8 + 1
    drawn = {a["id"] for _, a in Page(report).elements if "plotly-graph-div" in (a.get("class") or "")}
    assert drawn == {
        *("heat-trait", "heat-coherence", "trade-off", "arms-share", "arms-trait", "against-trait"),
        *("norm", "agreement"),
    }
    buttons = [a for tag, a in Page(report).elements if tag == "button"]
    assert {a["data-of"] for a in buttons if "data-save" in a} == drawn
    tables = {a.get("id") for tag, a in Page(report).elements if tag == "table"}
    assert {a["data-of"] for a in buttons if "data-copy" in a} - tables == {"methods"}


def test_says_the_verdict_and_the_figures(report: str) -> None:
    text = " ".join(Page(report).text.split())
    verdict = verdict_of(confirmed(text=HOSTILE, features={"emoji": 3.0}))
    assert verdict.decision == "use"
    head, _, rest = verdict.sentence.partition(": ")
    assert head in text
    for figure in rest.rstrip(".").split("; "):
        assert figure in text or figure[:1].upper() + figure[1:] in text
    assert verdict.rule in text
    for expected in ("pi (source)", "minimum 60", "8 test questions", "rejected 27", "mean_diff", "trait 80"):
        assert expected in text


def test_what_models_say_is_text_and_never_markup(report: str) -> None:
    assert "<script>alert" not in report
    assert "<img" not in report[report.index("<body>") :]
    shown = Page(report).text
    assert HOSTILE in shown, "whole, with its newline and its asterisks"
    assert shown.count(HOSTILE) == 4 * 2


def test_what_models_say_is_escaped_where_plotly_would_read_it(report: str) -> None:
    heat = report[report.index('id="heat-trait"') : report.index('id="heat-coherence"')]
    # plotly reads its texts as HTML, so they are escaped once for it and once, by itself, for the script element.
    assert "&lt;script&gt;alert" in heat.replace("\\u0026", "&")
    assert "script\\u003ealert" not in heat
    assert "\\u003cimg" not in heat


def test_names_are_escaped_too() -> None:
    every = confirmed()
    bad = "<script>bad</script>"
    verdict = verdict_of(every, source_name=bad, metric=bad, model=bad, trait=bad)
    html = render_report(verdict, every, {"layers": [1], bad: bad, "estimator": bad}, 2, bad)
    assert bad not in html
    assert "\\u003cscript\\u003ebad" not in html
    assert bad in Page(html).text


def test_the_same_input_gives_the_same_page(report: str) -> None:
    every = confirmed(text=HOSTILE, features={"emoji": 3.0})
    assert render_report(verdict_of(every), every, EVIDENCE, 4, "Emoji: pi to llama") == report


def test_no_winner_is_said_and_shown() -> None:
    every = swept(nats=5.0)
    verdict = verdict_of(every)
    assert verdict.winner is None
    text = Page(render_report(verdict, every, {}, 2, "t")).text
    assert "no winner" in text
    assert "So there is no winner, and nothing was confirmed." in text
    assert "moved the trait furthest" in text


def test_nothing_steered_at_all() -> None:
    every = trials("unsteered", [None] * 3, distinct_2=None, nll=None)
    text = Page(render_report(verdict_of(every), every, {}, 2, "t")).text
    assert "Nothing was steered" in text
    assert "unscored" in text
    assert "nan" not in text.lower().split()


def test_the_evidence_layer_by_layer() -> None:
    assert evidence_series(EVIDENCE) == {
        "norm": {"‖v‖": [0.1, 0.2, None], "with arms swapped at random (95%)": [0.05, 0.1, None]},
        "agreement": {
            "bootstrap": [0.9, 0.9, 0.8],
            "bootstrap low": [0.8, 0.8, 0.7],
            "bootstrap high": [1.0, 1.0, 0.9],
            "split half": [0.7, None, 0.6],
            "AUROC, held-out pairs": [0.9, 1.0, 0.8],
        },
    }


@pytest.mark.parametrize("missing", sorted(EVIDENCE))
def test_evidence_may_be_missing(missing: str) -> None:
    every = confirmed()
    evidence = {key: value for key, value in EVIDENCE.items() if key != missing}
    assert "How this was measured" in render_report(verdict_of(every), every, evidence, 1, "t")


def test_examples_are_the_first_questions_and_none_when_none_are_wanted() -> None:
    every = confirmed()
    text = Page(render_report(verdict_of(every), every, {}, 3, "t")).text
    assert "The first 3 test questions" in " ".join(text.split())
    assert "Read it yourself" not in Page(render_report(verdict_of(every), every, {}, 0, "t")).text


def test_empty_and_cut_answers_are_marked() -> None:
    every = [
        trial.model_copy(update={"text": ""}) if (trial.split, trial.arm) == ("test", "steered") else trial
        for trial in confirmed()
    ]
    cut = [trial.model_copy(update={"finish_reason": "length"}) for trial in confirmed()]
    assert "(empty answer)" in Page(render_report(verdict_of(every), every, {}, 1, "t")).text
    assert "[…]" in Page(render_report(verdict_of(cut), cut, {}, 1, "t")).text
