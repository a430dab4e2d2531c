import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steer_llama.errors import LayerError, VectorError
from steer_llama.vectors import (
    SteeringVector,
    cosines,
    evaluate,
    project_onto,
    project_out,
    read_vector,
    relative,
    select,
    unit,
    write_vector,
)
from steer_llama.vectors.algebra import add, named
from tests.vectors.test_vector import vector

LAYERS = (4, 7, 9)
TWO_32: Any = np.float32(2)
TWO_64: Any = np.int64(2)


def made(trait: str, seed: int, **changes: Any) -> SteeringVector:
    """A vector of its own at layers 4, 7 and 9, whose lengths differ from layer to layer."""
    random = np.random.default_rng(seed)
    directions_LD = random.standard_normal((3, 16)) * np.array([[1], [3], [0.5]])
    norms_L = random.uniform(10, 20, 3).astype(np.float32)
    return vector(
        **{"directions_LD": directions_LD.astype(np.float32), "residual_norm_L": norms_L, "trait": trait} | changes
    )


def turned(given: SteeringVector) -> SteeringVector:
    """The same vector, whose rows stand in another order."""
    order = [2, 0, 1]
    assert given.residual_norm_L is not None
    return replace(
        given,
        directions_LD=given.directions_LD[order],
        residual_norm_L=given.residual_norm_L[order],
        layers=tuple(given.layers[row] for row in order),
    )


EMOJI, PLAYFUL, FORMAL = made("emoji", 1), made("playful", 2), made("formal", 3)
E64, P64, F64 = (v.directions_LD.astype(np.float64) for v in (EMOJI, PLAYFUL, FORMAL))


def dots(a_LD: np.ndarray, b_LD: np.ndarray) -> np.ndarray:
    return np.array([[sum(x * y for x, y in zip(a_D, b_D, strict=True))] for a_D, b_D in zip(a_LD, b_LD, strict=True)])


@pytest.mark.parametrize(
    ("result", "expected", "text"),
    [
        (EMOJI + 0.5 * PLAYFUL - FORMAL, E64 + 0.5 * P64 - F64, "emoji + 0.5 * playful - formal"),
        (EMOJI - (PLAYFUL - FORMAL), E64 - P64 + F64, "emoji - (playful - formal)"),
        (-EMOJI, -E64, "-emoji"),
        (-(EMOJI + PLAYFUL), -E64 - P64, "-(emoji + playful)"),
        (-(EMOJI * -1), E64, "-(-1 * emoji)"),
        (EMOJI / 4, E64 / 4, "emoji / 4"),
        ((EMOJI + PLAYFUL) / 2 * 3, (E64 + P64) * 1.5, "3 * (emoji + playful) / 2"),
        (TWO_32 * EMOJI, 2 * E64, "2 * emoji"),
        (TWO_64 * (PLAYFUL / 10), 0.2 * P64, "2 * playful / 10"),
        (project_onto(EMOJI, PLAYFUL), P64 * dots(E64, P64) / dots(P64, P64), "project_onto(emoji, playful)"),
        (project_out(EMOJI, PLAYFUL), E64 - P64 * dots(E64, P64) / dots(P64, P64), "project_out(emoji, playful)"),
        (unit(EMOJI), E64 / np.sqrt(dots(E64, E64)), "unit(emoji)"),
        (EMOJI[7], E64[1:2], "emoji[7]"),
        (EMOJI[5:], E64[1:], "emoji[5:]"),
        (EMOJI[4:9], E64[:2], "emoji[4:9]"),
        (EMOJI[::3], E64[2:], "emoji[::3]"),
        ((EMOJI + PLAYFUL)[:8], (E64 + P64)[:2], "(emoji + playful)[:8]"),
        (select(EMOJI, [9, 4]), E64[[0, 2]], "select(emoji, 4, 9)"),
        (EMOJI + turned(PLAYFUL), E64 + P64, "emoji + playful"),
        (project_onto(EMOJI, turned(PLAYFUL)), P64 * dots(E64, P64) / dots(P64, P64), "project_onto(emoji, playful)"),
        (turned(EMOJI)[5:], E64[1:], "emoji[5:]"),
    ],
)  # fmt: skip
def test_results(result: SteeringVector, expected: np.ndarray, text: str) -> None:
    np.testing.assert_allclose(result.directions_LD, expected, rtol=1e-5, atol=1e-6)
    assert result.directions_LD.dtype == np.float32
    assert (result.trait, result.estimator) == (text, "combination")
    assert (result.model, result.model_fingerprint, result.positions) == ("m", "abc", "response")
    # The text says what was done: read again, it gives the same.
    used = {name: v for name, v in (("emoji", EMOJI), ("playful", PLAYFUL), ("formal", FORMAL)) if name in result.trait}
    again = evaluate(text, used)
    np.testing.assert_allclose(again.directions_LD, result.directions_LD, rtol=1e-5, atol=1e-6)
    assert (again.trait, again.layers) == (result.trait, result.layers)


def test_layers_are_numbers_and_not_rows() -> None:
    assert EMOJI[7].layers == (7,)
    assert EMOJI[4:9].layers == (4, 7)
    assert turned(EMOJI)[4:9].layers == (4, 7)
    assert EMOJI[9].residual_norm_L == pytest.approx([EMOJI.residual_norm(9)])
    for wrong in (5, -1):
        with pytest.raises(LayerError, match=rf"emoji\[{wrong}\]: no layer {wrong}; it has 4, 7, 9"):
            EMOJI[wrong]
    with pytest.raises(LayerError, match=r"emoji\[5:7\]: no such layers; it has 4, 7, 9"):
        EMOJI[5:7]
    with pytest.raises(LayerError, match="never from the end"):
        EMOJI[-3:]
    with pytest.raises(LayerError, match="no layer 5 to 6"):
        select(EMOJI, [4, 6, 5])
    with pytest.raises(LayerError, match="name at least one"):
        select(EMOJI, [])


def test_relative_is_strength_one() -> None:
    found = relative(EMOJI)
    for layer in LAYERS:
        assert np.linalg.norm(found.direction_D(layer)) == pytest.approx(EMOJI.residual_norm(layer), rel=1e-6)
        np.testing.assert_allclose(found.direction_D(layer), EMOJI.scaled_D(layer, 1), rtol=1e-5)
    with pytest.raises(VectorError, match=r"emoji does not say how large .*unit\(\)"):
        relative(made("emoji", 1, residual_norm_L=None))


def test_what_is_no_arithmetic_on_vectors() -> None:
    given: Any = EMOJI
    for wrong in (lambda: given + 1, lambda: 1 - given, lambda: given * given, lambda: 2 / given, lambda: given * "",
                  lambda: given * True, lambda: given + np.ones(3), lambda: [*given], lambda: 3 in given):  # fmt: skip
        with pytest.raises(TypeError):
            wrong()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (made("b", 2, model_fingerprint="xyz"), r"a and b are of different models \(m, fingerprint abc; m, .*--any"),
        (made("b", 2, model_fingerprint="", model="n"), r"different models \(m; n\)"),
        (made("b", 2, model_fingerprint="", model="", model_type="qwen"), r"different models \(llama; qwen\)"),
        (made("b", 2, directions_LD=np.ones((3, 8), np.float32)), r"a is 16 wide \(for m\) and b is 8 \(for m\)"),
        (made("b", 2, layers=(4, 7, 8)), r"layers 4, 7, 9, b has 4, 7, 8\. .* select\(a, 4, 7\) and select\(b, 4, 7\)"),
        (made("b", 2, layers=(0, 1, 2)), r"a has layers 4, 7, 9, b has 0 to 2: none in common"),
        (made("b", 2)[4], r"a has layers 4, 7, 9, b\[4\] has 4\. .*: a\[4:5\] and b\[4\]\."),
        (unit(made("b", 2)), r"unit\(b\) is normalised .* a is in units of the residual .*unit\(\) for both.*relative"),
        (0.5 * unit(made("b", 2)), "is normalised"),
        (made("b", 2, directions_LD=np.eye(3, 16, dtype=np.float32)), "b is normalised"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together(other: SteeringVector, says: str) -> None:
    with pytest.raises(VectorError, match=says):
        made("a", 1, model_type="llama") + other


def test_any_model_is_accepted_where_it_is_meant_and_noted() -> None:
    found = add(EMOJI, made("playful", 2, model="n", model_fingerprint="xyz"), any_model=True)
    np.testing.assert_allclose(found.directions_LD, E64 + P64, rtol=1e-6, atol=1e-6)
    assert (found.model, found.model_fingerprint) == ("m", "abc")
    assert "different models (m, fingerprint abc; n, fingerprint xyz)" in found.evidence["combination"]["notes"][0]


def test_a_model_that_is_not_known_is_taken_for_the_other_and_that_is_noted() -> None:
    unknown = made("playful", 2, model="", model_fingerprint="")
    for found in (EMOJI + unknown, unknown + EMOJI, EMOJI - 0.1 * unknown + FORMAL):
        (note,) = found.evidence["combination"]["notes"]
        assert "playful does not say which weights it is of" in note
        assert found.model_fingerprint == "abc"
    (note,) = (unknown + made("b", 3, model="", model_fingerprint="")).evidence["combination"]["notes"]
    assert note.startswith("neither playful nor b says")
    same_name = EMOJI + made("playful", 2, model_fingerprint="")
    assert same_name.evidence["combination"]["notes"] == []


def test_units_survive_a_file(tmp_path: Path) -> None:
    """A sum of normalised vectors has other lengths than 1, and is still no vector in residual units."""
    write_vector(tmp_path / "v", unit(EMOJI) + unit(PLAYFUL))
    mixed = read_vector(tmp_path / "v")
    assert mixed.origin is None
    with pytest.raises(VectorError, match="is normalised"):
        mixed + FORMAL
    assert (mixed + unit(FORMAL)).evidence["combination"]["units"] == "unit"
    write_vector(tmp_path / "v", relative(EMOJI))
    assert (read_vector(tmp_path / "v") + FORMAL).evidence["combination"]["units"] == "residual"


def test_the_proof_travels(tmp_path: Path) -> None:
    evidence = {"pairs": 12, "data_fingerprint": "d1", "bootstrap_cosine": {"mean": [0.9, 0.8, 0.7]}}
    emoji = replace(EMOJI, evidence=evidence, recommended_layer=7, recommended_strength=0.2, dtype="float32")
    playful = replace(PLAYFUL, positions="emoji", estimator="pca", dtype="bfloat16")
    write_vector(tmp_path / "v", emoji + 0.5 * playful)
    found = read_vector(tmp_path / "v")
    assert (found.recommended_layer, found.recommended_strength) == (None, None)
    assert (found.positions, found.dtype) == ("response / emoji", "float32 / bfloat16")
    told = found.evidence["combination"]
    assert told["expression"] == "emoji + 0.5 * playful"
    assert list(told["parents"]) == ["emoji", "playful"]
    assert told["parents"]["emoji"] == {
        "trait": "emoji", "estimator": EMOJI.estimator, "positions": "response", "dtype": "float32", "model": "m",
        "model_fingerprint": "abc", "pairs": 12, "data_fingerprint": "d1", "recommended_layer": 7,
        "recommended_strength": 0.2, "evidence": evidence,
    }  # fmt: skip
    assert told["parents"]["playful"]["estimator"] == "pca"
    assert told["parents"]["playful"]["pairs"] is None
    (pair,) = told["cosines"]
    assert pair["between"] == ["emoji", "playful"]
    cosine_L = np.array([np.corrcoef([*e, *-e], [*p, *-p])[0, 1] for e, p in zip(E64, P64, strict=True)])
    np.testing.assert_allclose(pair["cosine"], cosine_L, rtol=1e-6)
    # Along emoji it goes 1 + 0.5 · cosine · ‖playful‖ / ‖emoji‖ times as far as emoji itself.
    ratio_L = np.linalg.norm(P64, axis=1) / np.linalg.norm(E64, axis=1)
    np.testing.assert_allclose(told["kept"]["emoji"], 1 + 0.5 * cosine_L * ratio_L, rtol=1e-5)
    np.testing.assert_allclose(told["kept"]["playful"], 0.5 + cosine_L / ratio_L, rtol=1e-5)
    np.testing.assert_allclose(found.evidence["norm"], np.linalg.norm(E64 + 0.5 * P64, axis=1), rtol=1e-6)
    assert found.evidence["layers"] == [4, 7, 9]
    assert found.residual_norm_L is not None
    mean_L = [(emoji.residual_norm(layer) + playful.residual_norm(layer)) / 2 for layer in LAYERS]
    np.testing.assert_allclose(found.residual_norm_L, mean_L, rtol=1e-6)
    np.testing.assert_allclose(found.evidence["residual_norm"], mean_L, rtol=1e-6)


def test_the_residuals_norm_is_of_vectors_and_not_of_terms() -> None:
    found = EMOJI + PLAYFUL + EMOJI + EMOJI
    assert found.residual_norm(7) == pytest.approx((EMOJI.residual_norm(7) + PLAYFUL.residual_norm(7)) / 2)
    without = EMOJI + made("playful", 2, residual_norm_L=None)
    assert without.residual_norm_L is None
    assert "residual_norm" not in without.evidence


def test_what_is_projected_out_is_gone_and_rounding_is_not_left() -> None:
    left = project_out(EMOJI, PLAYFUL)
    np.testing.assert_allclose(left.evidence["combination"]["kept"]["playful"], 0, atol=1e-7)
    assert not project_out(EMOJI, 3.3 * EMOJI).directions_LD.any()
    assert not (EMOJI - 3 * (EMOJI / 3)).directions_LD.any()
    hole = replace(PLAYFUL, directions_LD=PLAYFUL.directions_LD * np.array([[1], [0], [1]], np.float32))
    for refused in ("project_out(a, b)", "a + unit(b)"):
        with pytest.raises(VectorError, match=r"b is zero at layer\(s\) 7"):
            evaluate(refused, {"a": EMOJI, "b": hole})


def test_names() -> None:
    other = made("emoji", 8)
    assert (EMOJI + other).trait == "emoji + emoji_2"
    assert (EMOJI - 2 * (other + made("emoji", 9))).trait == "emoji - 2 * (emoji_3 + emoji_2)"
    assert (EMOJI + EMOJI).trait == "emoji + emoji"
    assert list((EMOJI + EMOJI).evidence["combination"]["parents"]) == ["emoji"]
    assert (made("", 1) + made("unit", 2) + made("warm tone!", 3)).trait == "v + v_unit + warm_tone"
    assert (named(EMOJI, "x") + named(EMOJI, "x")).trait == "x + x"


def test_factors_that_are_no_numbers() -> None:
    for factor in (float("nan"), float("inf")):
        with pytest.raises(VectorError, match="expected a finite number"):
            factor * EMOJI
    with pytest.raises(VectorError, match="emoji / 0: nothing can be divided by zero"):
        EMOJI / 0
    for large in (1e39, 1e308):
        with pytest.raises(VectorError, match="too large for float32"):
            large * EMOJI


def test_cosines_against_a_slow_reference() -> None:
    zero = made("zero", 5, directions_LD=np.zeros((3, 16), np.float32))
    found = cosines([EMOJI, turned(PLAYFUL), FORMAL, zero])
    assert found.shape == (3, 4, 4)
    rows = [E64, P64, F64]
    for layer in range(3):
        for one in range(3):
            for other in range(3):
                a, b = rows[one][layer], rows[other][layer]
                assert found[layer, one, other] == pytest.approx(float(a @ b) / np.sqrt(float(a @ a) * float(b @ b)))
    assert not found[:, 3].any()
    for wrong in ([], [EMOJI, PLAYFUL[4]], [EMOJI, made("b", 2, model_fingerprint="x")]):
        with pytest.raises(VectorError):
            cosines(wrong)
    assert cosines([EMOJI, made("b", 2, model_fingerprint="x")], any_model=True).shape == (3, 2, 2)


def test_combinations_of_combinations_keep_what_they_were_made_of(tmp_path: Path) -> None:
    inner = EMOJI + PLAYFUL
    write_vector(tmp_path / "v", inner)
    outer = read_vector(tmp_path / "v") - FORMAL
    told = outer.evidence["combination"]
    assert told["expression"] == "emoji_playful - formal"
    assert told["parents"]["emoji_playful"]["evidence"] == json.loads(json.dumps(inner.evidence))
    assert list((inner - FORMAL).evidence["combination"]["parents"]) == ["emoji", "playful", "formal"]
