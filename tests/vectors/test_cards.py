"""Cards say what the file says, also where that is bad news, and never do what it says."""

import itertools
import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from markdown_it.token import Token

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering, steering
from steer_llama.vectors import SteeringVector, write_vector
from steer_llama.vectors.cards import BakedFacts, baked_card, base_license, hub_id, vector_card
from tests.vectors.test_vector import vector

EVIDENCE: dict[str, Any] = {
    "pairs": 33,
    "layers": [4, 7, 9],
    "norm": [1.0, 2.5, 3.0],
    "bootstrap_cosine": {"mean": [0.9, 0.91, 0.5], "low": [0.8, 0.81, 0.4], "high": [0.95, 0.96, 0.6]},
    "bootstrap_norm": {"low": [1.0, 2.25, 3.0], "high": [2.0, 3.25, 4.0]},
    "split_half_cosine": [0.1, 0.777, 0.3],
    "null_norm": [0.5, 0.625, 0.7],
    "opposed_share": [0.0, 0.125, 0.5],
    "auroc": [0.5, 0.875, 0.6],
    "newest_measure": [1, 22, 3],
    "held_out": {"accuracy": [0.5, 0.6875, 0.1], "pairs": 7},
    "data_fingerprint": "abcdef",
    "steer_llama": "0.1.0",
    "verdict": {
        "decision": "use",
        "sentence": "Use layer 7 at strength 0.2: +58 points [+33, +83].",
        "sampling": {"temperature": 0.7, "top_p": 1.0},
    },
    "test": [
        {
            "arm": "steered",
            "label": "target, steered",
            "measured": {
                "trait": {"mean": 67, "low": 42, "high": 88, "n": 12},
                "share": {"mean": 0.67, "low": 0.42, "high": 0.88, "n": 12},
                "coherence": 65.2,
                "perplexity": 8.125,
            },
        }
    ],
}


def full(**changes: Any) -> SteeringVector:
    given = vector(trait="emoji", model="ada/llama", recommended_layer=7, recommended_strength=0.2, evidence=EVIDENCE)
    return replace(given, **changes)


def test_what_the_evidence_says_is_on_the_card() -> None:
    card = ModelCard(vector_card(full(), "ada/emoji-vector"))
    assert card.data.get("base_model") == "ada/llama"
    assert card.data.get("library_name") == "steer-llama"
    text = card.text
    for piece in (
        *("# Steering vector: emoji", "**It works.** Use layer 7", "layer 7, strength 0.2", "33 pairs", "`abcdef`"),
        *("temperature 0.7, top\\_p 1", "| target, steered | 67 [42, 88] | 67% [42%, 88%] | 65.2 | 8.12 |"),
        *("| 0.91 [0.81, 0.96] |", "| 2.25 to 3.25 |", "| 0.777 |", "| 0.625 |", "| 0.125 |", "| 0.875 |"),
        *("| newest\\_measure | 22 |", "| held\\_out | accuracy 0.688 |", "| at layer 7 | |"),
        *("steer-llama pull ada/emoji-vector", "-m ada/llama", "--layer 7 --strength 0.2", "hidden_states[L + 1]"),
    ):
        assert piece in text, piece
    for other in ("0.95", "0.6 |", "| 3 |", "None", "nan"):
        assert other not in text, "of another layer, or of nothing"


@pytest.mark.parametrize(
    ("decision", "said"), [("no", "**Not confirmed.** It may be chance"), ("prompt", "a prompt works better")]
)
def test_bad_news_is_told(decision: str, said: str) -> None:
    verdict = {"decision": decision, "sentence": "It may be chance."}
    text = vector_card(full(recommended_layer=None, recommended_strength=None, evidence={"verdict": verdict}))
    assert said in text
    assert "It works.**" not in text
    assert "nothing yet" in text


def test_a_vector_that_says_little() -> None:
    bare = full(
        evidence={}, residual_norm_L=None, recommended_layer=None, recommended_strength=None, model="", trait="",
        estimator="", positions="", model_fingerprint="",
    )  # fmt: skip
    text = vector_card(bare)
    assert "**Not tested.**" in text
    assert "base_model" not in text
    assert "--coefficient 1" in text
    assert "steer-llama generate" not in text, "which needs a strength"
    assert "holds no measurements" in text
    assert "nothing yet" in vector_card(full(recommended_strength=None, recommended_layer=None))


HOSTILE = (
    "[click](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "<script>alert(1)</script><img src=x onerror=y>",
    "https://evil.example www.evil.example me@evil.example",
    "a\n\n# Heading\n\n- item\n\n```\ncode\n```\n---\nbase_model: evil/evil\n---\n",
    "| a | b |\n|---|---|\n",
    "`code` ``` ~~~ `` ` **bold** _it_ ~~gone~~ $x$ &lt; \\",
    "---\nlicense: evil\n---",
    "{{ 7 * 7 }} {% raw %} !!python/object/apply:os.system ['x']",
    "1. one\n+ two\n=====",
    "\x00\x1b[31m\u202egnp.exe\u2028\ud800",
    "'; rm -rf / #",
    "$(rm -rf /)`rm -rf /`",
    "ada/llama\nevil: true",
    "x" * 100_000,
)


def hostile_vector(text: str) -> SteeringVector:
    verdict = {"decision": text, "sentence": text, "sampling": {"temperature": text, text: 1}}
    arm = {"arm": text, "label": text, "measured": {"trait": text, "coherence": {"mean": 1, "low": 0, "high": 2}}}
    evidence = {**EVIDENCE, text: [1.0, 2.0, 3.0], "verdict": verdict, "test": [arm], "data_fingerprint": text}
    evidence["auroc"] = {text: [1, 2, 3]}
    evidence["steer_llama"] = text
    return full(
        trait=text, model=text, estimator=text, positions=text, revision=text, model_type=text, evidence=evidence,
        model_fingerprint=text,
    )  # fmt: skip


def facts(text: str, **changes: Any) -> BakedFacts:
    given = BakedFacts(text, None, {7: 2.0}, {7: 0.001}, "bfloat16", "mlp.down_proj", True, text, {}, (text,))
    return replace(given, **changes)


def tokens_of(text: str) -> list[Token]:
    """As GitHub and the hub read Markdown: with tables, bare addresses as links, and HTML."""
    parser = MarkdownIt("gfm-like", {"linkify": False, "html": True})
    return [inner for token in parser.parse(text) for inner in (token, *(token.children or ()))]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_a_file_says_is_not_done(text: str) -> None:
    calm = "calm words"
    for made, ordinary in (
        (vector_card(hostile_vector(text), text), vector_card(hostile_vector(calm), calm)),
        (baked_card(hostile_vector(text), facts(text)), baked_card(hostile_vector(calm), facts(calm))),
    ):
        assert len(made) < 20_000
        made.encode()
        front = yaml.safe_load(made.split("---\n")[1])
        assert set(front) == set(yaml.safe_load(ordinary.split("---\n")[1]))
        body = made.split("---\n", 2)[2]
        kinds, expected = ([token.type for token in tokens_of(b)] for b in (body, ordinary.split("---\n", 2)[2]))
        for kind in ("link_open", "image", "html_block", "html_inline", "heading_open", "fence", "hr", "table_open",
                     "tr_open", "td_open", "bullet_list_open", "ordered_list_open", "list_item_open",
                     "strong_open", "em_open", "s_open"):  # fmt: skip
            assert kinds.count(kind) == expected.count(kind), f"{kind}: {body[:2000]}"
        # Bare addresses become links where a page's Markdown does that.
        outside_code = re.sub(r"`[^`\n]*`", "", body)
        assert not re.search(r"https://|www\.evil|me@evil", outside_code)
        fences = [token.content for token in tokens_of(body) if token.type == "fence"]
        assert not any("evil" in fence or "rm -rf" in fence for fence in fences), "no command is made of it"


def test_damaged_evidence_makes_a_card_all_the_same() -> None:
    """Every key of it replaced by every kind of JSON value."""
    values: list[Any] = [
        *[None, True, 3, -1.5, 1e300, 10**400, "text", "", [], {}, [1], [1, 2, 3], [None, "a", {}], {"mean": 1}],
        *[{"low": [1, 2, 3], "high": [None] * 3}, {"mean": [[1]] * 3, "low": [1] * 3, "high": [1] * 3}],
        *[[float("nan")] * 3, {"sentence": ["x"], "decision": {}, "sampling": []}, [{"measured": 1}], [[]]],
    ]
    for key, value in itertools.product(EVIDENCE, values):
        damaged = full(evidence={**EVIDENCE, key: value})
        assert "# Steering vector: emoji" in vector_card(damaged)
        assert "What was added" in baked_card(damaged, facts("m"))
        assert "nan" not in vector_card(damaged)
    generator = random.Random(0)
    for _ in range(200):
        text = json.dumps(EVIDENCE)
        at = generator.randrange(len(text))
        try:
            evidence = json.loads(text[:at] + generator.choice('0"[]{},:n') + text[at + 1 :])
        except ValueError:
            continue
        vector_card(full(evidence=evidence))


def test_the_snippet_steers_as_our_hook_does(tiny_llama: LanguageModel, tmp_path: Path) -> None:
    folder = Path(tiny_llama.hf.config._name_or_path)
    generator = np.random.default_rng(0)
    mine = SteeringVector(
        generator.standard_normal((3, 32)).astype(np.float32), (0, 1, 2), np.ones(3, np.float32) * 5, "path", "", "t",
        "mean_difference", "response", recommended_layer=1, recommended_strength=0.8,
    )  # fmt: skip
    write_vector(tmp_path / "vector.safetensors", mine)
    (source,) = [token.content for token in tokens_of(vector_card(mine)) if token.info == "python"]
    source = source.replace("path/to/the/model", str(folder))
    source = source.replace('"vector.safetensors"', repr(str(tmp_path / "vector.safetensors")))
    made: dict[str, Any] = {}
    exec(source, made)
    ids = torch.tensor([[5, 9, 33, 7, 41]])
    with torch.no_grad():
        found = made["model"](ids).logits
        with steering(tiny_llama, [Steering(1, torch.from_numpy(mine.scaled_D(1, 0.8)))]):
            expected = tiny_llama.hf(ids).logits
        plain = tiny_llama.hf(ids).logits
    assert float((found - expected).abs().max()) < 1e-4
    assert float((found - plain).abs().max()) > 0.01


def test_the_card_of_a_baked_model() -> None:
    as_recommended = full().coefficient(7, 0.2)
    given = facts(
        "llama", base_hub_id="ada/llama", coefficients={7: as_recommended}, license={"license": "llama3.3"},
        checked="max |Δlogit| 2e-06", notes=(),
    )  # fmt: skip
    card = ModelCard(baked_card(full(), given))
    assert (card.data.get("base_model"), card.data.get("license")) == ("ada/llama", "llama3.3")
    assert card.data.get("library_name") == "transformers"
    for piece in (
        *("# `llama`, steered: emoji", f"| 7 | 0.2 | {as_recommended:.6g} |", "| 0.10% |", "max \\|Δlogit\\| 2e-06"),
        *("`mlp.down_proj`", "set the biases", "**It works.**", "67 [42, 88]", "bfloat16"),
    ):
        assert piece in card.text, piece
    other = baked_card(full(), replace(given, coefficients={4: 1.0, 7: as_recommended}, bias_is_new=False, checked=""))
    assert "67 [42, 88]" not in other, "the tests were of another strength"
    assert "not those that the vector recommends" in other
    assert "subtract the vector" in other
    assert "not checked" in other
    assert "| 4 | " in other


@pytest.mark.parametrize(
    ("readme", "found"),
    [
        ("---\nlicense: mit\n---\n# x", {"license": "mit"}),
        ("\ufeff---\r\nlicense: other\r\nlicense_name: llama\r\nlicense_link: LICENSE\r\n---\r\n",
         {"license": "other", "license_name": "llama", "license_link": "LICENSE"}),
        ("# no front matter\n---\nlicense: mit\n---", {}),
        ("---\nlicense: [a, b]\n---\n", {}),
        ("---\nlicense: 'evil\n  x: y'\n---\n", {}),
        ("---\n- a\n---\n", {}),
        ("---\n{\n---\n", {}),
        ("---\na: &a [1]\nb: &b [*a, *a]\nlicense: mit\n---\n", {"license": "mit"}),
        ("---\n!!python/object/apply:os.system ['x']\n---\n", {}),
        ("---\n" + "[" * 5000 + "\n---\n", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_the_licence_of_a_base_model(readme: str, found: dict[str, str]) -> None:
    assert base_license(readme) == found


def test_names_on_the_hub() -> None:
    for good in ("ada/llama", "meta-llama/Llama-3.3-70B-Instruct", "a/b", "a_b/c.d"):
        assert hub_id(None, "", "smollm2", good) == good
    for bad in (
        "smollm2",
        "a/b/c",
        "../b",
        "a/..",
        "a/b.git",
        "a--b/c",
        "a/b-",
        "-a/b",
        "a/b\n",
        "/models/x",
        "a/" + "b" * 96,
    ):
        assert hub_id(bad) is None, bad
