import contextlib
import random
import warnings

import numpy as np
import pytest

from steer_llama.errors import ConfigError, LayerError, VectorError
from steer_llama.vectors import SteeringVector, evaluate, project_out, unit
from tests.vectors.test_algebra import E64, EMOJI, P64, PLAYFUL, made

BOTH = {"a": EMOJI, "b": PLAYFUL}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b", E64 + P64),
        ("  a\n + b ", E64 + P64),
        ("a+0.5*b", E64 + 0.5 * P64),
        ("a - b*2", E64 - 2 * P64),
        ("-a - -b", P64 - E64),
        ("(a - b) / 4", (E64 - P64) / 4),
        ("a*(1 + 2*3)/(7 - .5) + b", E64 * 7 / 6.5 + P64),
        ("1e-1*a + 2E0*b", 0.1 * E64 + 2 * P64),
        ("a + b + a + b + a", 3 * E64 + 2 * P64),
        ("project_out(a, b)", project_out(EMOJI, PLAYFUL).directions_LD),
        ("unit(a) - unit(b)", unit(EMOJI).directions_LD - unit(PLAYFUL).directions_LD),
        ("a[4:9] + b[:8]", (E64 + P64)[:2]),
        ("a[9] + select(b, 9)", (E64 + P64)[2:]),
        ("(a + b)[5:10:2]", (E64 + P64)[1:]),
    ],
)
def test_what_is_understood(text: str, expected: np.ndarray) -> None:
    found = evaluate(text, BOTH)
    np.testing.assert_allclose(found.directions_LD, expected, rtol=1e-5, atol=1e-6)
    assert list(found.evidence["combination"]["parents"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the expression is empty"),
        ("a +", "invalid syntax"),
        ("a b", r"'a b'.*invalid syntax"),
        ("a + c", r"'a \+ c', at character 5 \('c'\): no vector is called c; there are: a, b"),
        ("é + c", r"at character 1 \('é'\)"),
        ("a + unit(ü) + b.x", r"at character 10 \('ü'\)"),
        ("0.5*ä*2 + b", r"at character 5 \('ä'\)"),
        ("a", "does not use b"),
        ("3 * 4", "gives the number 12; expected a vector"),
        ("a + 1 * 2", "a number and a vector cannot be added"),
        ("1 - a", "cannot be subtracted"),
        ("a * b", "two vectors cannot be multiplied"),
        ("2 / a", "nothing can be divided by a vector"),
        ("a ** 2", r"of the operations there are \+ - \* and /"),
        ("9**9**9**9 * a + b", "of the operations there are"),
        ("a @ b", "of the operations there are"),
        ("a // 2 + b", "of the operations there are"),
        ("+a + b", r"at character 1 \('\+a'\): not understood"),
        ("~a + b", "not understood"),
        ("a.directions_LD", r"not understood; there are names, numbers, \+ - \* /"),
        ("__import__('os').system('true')", "not understood"),
        ("eval('a')", "not understood"),
        ("unit(a)(b)", "not understood"),
        ("(lambda: a)()", "not understood"),
        ("[x for x in a]", "not understood"),
        ("a if b else a", "not understood"),
        ("a < b", "not understood"),
        ("a and b", "not understood"),
        ("f'{a}'", "not understood"),
        ("(c := a) + b", "not understood"),
        ("a + True * b", r"\('True'\): not understood"),
        ("a + 1j * b", "not understood"),
        ("a + None", "not understood"),
        ("unit(a=a)", "not understood"),
        ("unit + b", r"no vector is called unit"),
        ("unit(a, b)", "unit takes one vector"),
        ("project_out(a)", "project_out takes two vectors"),
        ("project_out(*a)", "project_out takes two vectors"),
        ("project_out(a, *b)", "not understood"),
        ("select(a)", "select takes a vector and layers"),
        ("select(a, b)", r"at character 11 \('b'\): expected a layer"),
        ("unit(2)", r"\('2'\): is the number 2; expected a vector"),
        ("2[3] * a", "expected a vector"),
        ("a[1.5] + b", r"\('1.5'\): expected a layer: a whole number"),
        ("a[-1] + b", r"\('-1'\): expected a layer"),
        ("a[b] + b", "expected a layer"),
        ("a[4, 7] + b", r"select\(vector, 3, 5, 9\)"),
        ("a[4:7, 9] + b", r"select\(vector, 3, 5, 9\)"),
        ("1e999 * a + b", r"\('1e999'\): is no finite number"),
        (f"{'9' * 1500} * a + b", "is no finite number"),
        ("1e308 * 10 * a + b", "is no finite number"),
        ("1 / 0 * a + b", r"\('1 / 0'\): is no finite number"),
        ("a + b; a", "invalid syntax"),
        ("a = b", "invalid syntax"),
        ("a\0 + b", "null"),
        ("(" * 500 + "a" + ")" * 500, "nested|cannot be read|too deep"),
        ("-" * 1500 + "a", "too deep: more than 100"),
        ("a" + "+b" * 150, "too deep"),
        ("a" + "[4:9]" * 200, "too deep"),
        ("a + b" + " + a + b" * 300, "2,405 characters; at most 2,000"),
    ],
)
def test_what_is_not_understood(text: str, says: str) -> None:
    with warnings.catch_warnings(action="error"), pytest.raises(ConfigError, match=says) as caught:
        evaluate(text, BOTH)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("a[5:7] + b", LayerError, r"a\[5:7\]: no such layers; it has 4, 7, 9"),
        ("a[99999999999999999999] + b", LayerError, "no layer 99999999999999999999"),
        ("a[::0] + b", LayerError, "a step is 1 or more"),
        ("a[4] + b", VectorError, r"Select those that both have: a\[4\] and b\[4:5\]"),
        ("unit(a) + b", VectorError, "normalised"),
        ("a / 0 + b", VectorError, "divided by zero"),
        ("unit(0*a) + b", VectorError, "is zero at layer"),
    ],
)
def test_what_is_understood_and_impossible(text: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        evaluate(text, BOTH)


def test_a_name_alone_is_a_combination_too() -> None:
    found = evaluate("a", {"a": EMOJI})
    assert (found.trait, found.estimator) == ("a", "combination")
    np.testing.assert_array_equal(found.directions_LD, EMOJI.directions_LD)
    assert found.evidence["combination"]["parents"]["a"]["trait"] == "emoji"


def test_a_space_of_any_kind_is_a_space() -> None:
    assert evaluate("a +\t\n\u00a0 b", BOTH).trait == "a + b"


@pytest.mark.parametrize("name", ["unit", "lambda", "a-b", "2a", "", "a b", "ﬁ"])
def test_names_that_nothing_can_have(name: str) -> None:
    with pytest.raises(ConfigError, match="the name"):
        evaluate("a", {"a": EMOJI, name: PLAYFUL})


def test_other_models_are_meant() -> None:
    other = made("b", 2, model_fingerprint="other")
    for text in ("a + b", "a - b", "project_out(a, b)", "project_onto(a, b)"):
        with pytest.raises(VectorError, match="different models"):
            evaluate(text, {"a": EMOJI, "b": other})
        assert evaluate(text, {"a": EMOJI, "b": other}, any_model=True).trait == text


def test_anything_at_all_is_a_vector_or_a_refusal() -> None:
    draw = random.Random(0)
    parts = [
        *"ab2+-*/()[]:,.'é74#\\ \n\0",
        "unit(",
        "relative(",
        "project_out(",
        "select(",
        "**",
        "lambda",
        "if",
        "0x",
        "1_0",
    ]
    vectors = 0
    for _ in range(4000):
        text = "".join(draw.choice([*parts, " ", "\n", "\0"]) for _ in range(draw.randrange(1, 9)))
        with contextlib.suppress(ConfigError, VectorError, LayerError):
            vectors += isinstance(evaluate(text, {"a": EMOJI}), SteeringVector)
    assert vectors > 20
