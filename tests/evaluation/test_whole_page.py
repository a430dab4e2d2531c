"""The report of a sweep with everything: modes, halving, every arm, side effects."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from steer_llama.evaluation.page import render_report
from steer_llama.evaluation.shown import examples, headline, panels, stopped
from steer_llama.records import SweepSetup, Trial, Verdict, as_json
from tests.evaluation.test_page import EVIDENCE, HOSTILE, Page
from tests.evaluation.whole import DEV, EARLY, TEST, everything, judged, side_effects


class Tables(Page):
    """The page's tables by their ids, each a list of rows of cells."""

    def __init__(self, html: str) -> None:
        self.tables: dict[str, list[list[str]]] = {}
        self._table = ""
        self._cell = False
        super().__init__(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        if tag == "table":
            self._table = dict(attrs).get("id") or ""
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in {"td", "th"}:
            self.tables[self._table][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        super().handle_endtag(tag)
        self._cell = self._cell and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        super().handle_data(data)
        if self._cell:
            self.tables[self._table][-1][-1] += data


def rendered(every: list[Trial], verdict: Verdict, **more: Any) -> Tables:
    return Tables(render_report(verdict, every, EVIDENCE, 2, "t", **more))


@pytest.fixture(scope="module")
def every() -> list[Trial]:
    return everything()


@pytest.fixture(scope="module")
def verdict(every: list[Trial]) -> Iterator[Verdict]:
    yield judged(every)


def test_no_two_conditions_share_a_cell(every: list[Trial], verdict: Verdict) -> None:
    found = panels(verdict, every)
    assert [panel.name for panel in found] == ["add, all tokens", "project, all tokens"]
    for panel in found:
        places = [(cell.condition.layer, cell.condition.strength) for cell in panel.cells]
        assert len(set(places)) == len(places)
        assert len({cell.condition.spot[:3] for cell in panel.cells}) == 1
    assert sorted(c.condition.spot for p in found for c in p.cells) == [c.spot for c in verdict.conditions]


def test_each_cell_quotes_its_own_condition() -> None:
    said = everything()
    said = [
        trial.model_copy(update={"text": f"{trial.mode} {trial.layer} {trial.strength}"})
        if trial.split == "dev" and trial.arm == "steered"
        else trial
        for trial in said
    ]
    for panel in panels(judged(said), said):
        for cell in panel.cells:
            spot = cell.condition.spot
            assert cell.quote == f"{spot.mode} {spot.layer} {spot.strength}"
    html = render_report(judged(said), said, {}, 0, "t")
    heat = html[html.index('id="heat-trait"') : html.index('id="heat-coherence"')]
    for quote in ("add 10 0.1", "project 10 0.1", "add 14 0.2", "project 14 0.2"):
        assert heat.count(quote) == 1


def test_what_was_stopped_early_is_said(every: list[Trial], verdict: Verdict) -> None:
    found = panels(verdict, every)
    assert {(cell.answered, cell.asked) for cell in stopped(found)} == {(EARLY, DEV)}
    assert len(stopped(found)) == 6
    rows = rendered(every, verdict).tables["conditions"]
    outcomes = [row[-1] for row in rows[1:]]
    assert outcomes.count("winner") == 1
    assert sum(f"stopped after {EARLY} of {DEV} questions" in each for each in outcomes) == 6
    assert sum("too incoherent" in each for each in outcomes) == 3
    assert rows[0][1:5] == ["mode", "tokens", "layer", "strength"]


def test_the_first_screen(every: list[Trial], verdict: Verdict) -> None:
    head = headline(verdict, None)
    assert head.decision == "Use it"
    assert f"{head.decision}: {head.first} {head.rest}".lower().replace("). random", "); random") == (
        verdict.sentence.lower()
    )
    steered = next(arm for arm in verdict.arms if arm.arm == "steered")
    assert steered.fidelity is not None
    closed = steered.fidelity.closed
    meter = head.meters[0]
    assert (meter.value, meter.unit) == (f"{100 * closed.mean:.0f}", "%")
    assert f"{100 * closed.low:.0f} to {100 * closed.high:.0f}, {TEST} questions" in meter.note
    assert [each.label for each in head.meters] == [
        *("of the style gap closed", "of the answers with emoji", "coherence kept"),
        "of the answers moved the wrong way",
    ]
    html = render_report(verdict, every, {}, 0, "t")
    assert html.index('id="arms-closed"') < html.index("<nav"), "the picture is on the first screen"


@pytest.mark.parametrize(
    ("sentence", "decision", "first", "rest"),
    [
        ("Do not use it: a; b. At layer 1.5 it is.", "Do not use it", "A; b.", "At layer 1.5 it is."),
        ("Use it: a 0.5; b; c.", "Use it", "A 0.5.", "B; c."),
        ("Not confirmed: x (at layer 3).", "Not confirmed", "X (at layer 3).", ""),
        ("Something else altogether.", "Use it", "Something else altogether.", ""),
    ],
)
def test_the_sentence_is_taken_apart(verdict: Verdict, sentence: str, decision: str, first: str, rest: str) -> None:
    said = "use" if decision == "Use it" else "no"
    head = headline(verdict.model_copy(update={"sentence": sentence, "decision": said}), None)
    assert (head.decision, head.first, head.rest) == (decision, first, rest)


def test_the_style_profile_is_per_100_tokens_and_of_the_right_arm(every: list[Trial], verdict: Verdict) -> None:
    rows = rendered(every, verdict).tables["style"]
    labels = [arm.label for arm in verdict.arms]
    assert rows[0] == ["feature", *labels, "unit of the distance"]
    emoji = next(row for row in rows if row[0] == "emoji")
    # By hand: 100 words in 100 tokens, so what is counted per 100 words is per 100 tokens, too.
    for place, arm in enumerate(verdict.arms, start=1):
        counts = [t.features["emoji"] for t in every if t.split == "test" and t.arm == arm.arm]
        mean = sum(counts) / len(counts)
        shown = f"{mean:.0f}" if mean >= 9.95 else f"{mean:.1f}".removesuffix(".0")
        assert emoji[place].split()[0] == shown
    twice = [trial.model_copy(update={"tokens": 200}) for trial in every]
    halved = rendered(twice, judged(twice)).tables["style"]
    of_source = 1 + [arm.arm for arm in verdict.arms].index("source")
    before, after = (float(next(r for r in t if r[0] == "emoji")[of_source].split()[0]) for t in (rows, halved))
    assert after == pytest.approx(before / 2, abs=0.1)


def test_the_comparisons_are_the_verdicts(every: list[Trial], verdict: Verdict) -> None:
    rows = rendered(every, verdict).tables["comparisons"]
    assert [row[0] for row in rows[1:]] == [
        *("random directions", "the vector turned round", "a prompt", "a prompt with examples"),
    ]
    turned = verdict.comparisons[1]
    assert turned.against == "turned"
    assert turned.trait is not None
    assert rows[2][2] == f"{turned.trait.mean:.0f} [{turned.trait.low:.0f}, {turned.trait.high:.0f}]"


def test_the_methods_have_every_number(every: list[Trial], verdict: Verdict) -> None:
    setup = SweepSetup(dtype="bfloat16", revision="abc123", max_tokens=64, bootstrap=2000, seed=17)
    sampling = {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.1}
    sampled = verdict.model_copy(update={"sampling": sampling, "setup": setup})
    text = " ".join(rendered(every, sampled).text.split())
    for expected in (
        *(
            "bfloat16, revision abc123",
            "hidden_states[ℓ + 1]",
            "temperature 0.7",
            "top p 0.9",
            "repetition penalty 1.1",
        ),
        *("at most 64 tokens", "2,000 resamplings, seed 17", "by mean_diff from 27 pairs", "8 conditions"),
        *(f"on {DEV} dev questions", "2 of them answered every question and 6 were stopped after 3 questions", "44%"),
        *(f"{TEST} test questions (1 answer each", "2 random directions of the same norm", "a coherence of 60"),
        *("and over the vector turned round", "layers 10, 14; strengths 0.1, 0.2"),
    ):
        assert expected in text
    assert "Not known from these files" not in text
    unknown = " ".join(Tables(render_report(verdict, every, {}, 0, "t")).text.split())
    assert "temperature, top p and repetition penalty" in unknown
    for missing in ("dtype", "the most tokens of an answer", "number of resamplings", "the seed", "was estimated"):
        assert missing in unknown[unknown.index("Not known from these files") :]


def test_side_effects_are_shown_where_they_were_looked_for(every: list[Trial], verdict: Verdict) -> None:
    without = rendered(every, verdict)
    assert "side effect" not in without.text.lower()
    found = verdict.model_copy(update={"side_effects": side_effects(HOSTILE)})
    html = render_report(found, every, {}, 1, "t")
    page = Tables(html)
    change = side_effects().facts.change
    wanted = f"−35 points, 95% interval {100 * change.low:.0f} to {100 * change.high:.0f}".replace("-", "−")
    assert "<script>alert" not in html
    assert HOSTILE in page.text
    assert [row[0] for row in page.tables["side-effects"]] == [
        *("what", "perplexity of neutral text", "next token on neutral prompts", "factual questions answered rightly"),
    ]
    assert page.tables["side-effects"][3][1:4] == ["12 of 20", "5 of 20", wanted]
    warned = [a for tag, a in page.elements if tag == "li" and a.get("class") == "warning"]
    assert len(warned) == 1
    assert 'id="turns-0"' in html
    head = page.text[: page.text.index("On new questions")]
    assert "in 6 checks" in " ".join(head.split())
    assert "Factual questions 12 of 20 before, 5 after" in head
    assert page.text.count("right → wrong") == 7, "each answer that flipped"


def test_a_verdict_from_before_there_was_fidelity(every: list[Trial], verdict: Verdict) -> None:
    old = as_json(verdict)
    for key in ("objective", "comparisons", "side_effects"):
        del old[key]
    for condition in (*old["conditions"], old["winner"]):
        for key in ("vector", "mode", "where", "fidelity", "anti_steered"):
            del condition[key]
    old["conditions"] = old["conditions"][:4]
    for arm in old["arms"]:
        for key in ("lift_trait", "effect", "fidelity", "anti_steered", "coherence_interval", "judged_interval"):
            del arm[key]
    for measured in [old["unsteered"], *(part["measured"] for part in (*old["conditions"], *old["arms"]))]:
        for key in ("repetition", "judged_coherence"):
            del measured[key]
    bare = [trial.model_copy(update={"features": {}, "mode": "add"}) for trial in every if trial.mode == "add"]
    html = render_report(Verdict.model_validate(old), bare, {}, 2, "t")
    assert 'id="heat-closed"' not in html
    assert 'id="arms-closed"' not in html
    page = Tables(html)
    assert {"results", "quality", "conditions"} <= page.tables.keys()
    assert page.tables["results"][0] == ["answers of", "answers with emoji, %", "trait score"]
    assert "Style gap closed" not in page.text
    assert "nan" not in page.text.lower().split()


def test_the_other_arms_answers_come_after_a_click(every: list[Trial], verdict: Verdict) -> None:
    _, (first, _) = examples(verdict, every, 2)
    assert [answer.arm for answer in first.answers] == ["unsteered", "steered", "source"]
    assert [answer.arm for answer in first.more] == ["prompted", "examples", "turned", "random"]
    prompted = verdict.model_copy(update={"decision": "prompt"})
    _, (first, _) = examples(prompted, every, 2)
    assert [answer.arm for answer in first.answers] == ["unsteered", "steered", "source", "prompted"]
    assert [answer.arm for answer in first.more] == ["examples", "turned", "random"]


def test_names_of_vectors_and_modes_are_escaped() -> None:
    bad = "<script>bad</script>"
    said = everything(vector=bad, where=bad)
    setup = SweepSetup(dtype=bad, revision=bad)
    html = render_report(judged(said).model_copy(update={"setup": setup}), said, {}, 1, "t")
    assert bad not in html
    assert "\\u003cscript\\u003ebad" not in html
    assert re.search(r"vector <b>&lt;script&gt;bad", html)
