"""From ``NAME@LAYERS:STRENGTH`` to what is added to the residual stream."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from steer_llama.errors import ConfigError, LayerError, VectorError
from steer_llama.lm.steering import ALL, DIVERGENCE, RESPONSE
from steer_llama.records import GateOn, Spot, Steer
from steer_llama.stages.named_vectors import files_of, named
from steer_llama.stages.size import Size
from steer_llama.stages.spots import steering_at
from steer_llama.stages.steer_text import parse_steer
from steer_llama.stages.steers import resolved, steerings, steers_from_flags
from steer_llama.vectors import SteeringVector


def small_vector() -> SteeringVector:
    """Three layers, eight wide; residuals of norm 4, 5 and 6."""
    directions_LD = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    return SteeringVector(
        directions_LD=directions_LD,
        layers=(0, 1, 2),
        residual_norm_L=np.array([4.0, 5.0, 6.0], dtype=np.float32),
        trait="emoji",
        model="tiny",
        model_fingerprint="",
        estimator="mean_diff",
        positions="response",
    )


TEXTS = {
    "emoji": Steer(name="emoji"),
    "emoji@12:0.4": Steer(name="emoji", layers=(12,), strength=0.4),
    "formatting@10:-0.3": Steer(name="formatting", layers=(10,), strength=-0.3),
    "a@8,10-12:1e-1": Steer(name="a", layers=(8, 10, 11, 12), strength=0.1),
    "a@3:coefficient=2.5": Steer(name="a", layers=(3,), coefficient=2.5),
    "a@3:0.2:mode=keep_norm:where=response:half_life=20": Steer(
        name="a", layers=(3,), strength=0.2, mode="keep_norm", where="response", half_life=20
    ),
    "a@3:mode=project_out": Steer(name="a", layers=(3,), mode="project_out"),
    "a@3:mode=clamp:low=-0.1:high=0.2": Steer(name="a", layers=(3,), mode="clamp", low=-0.1, high=0.2),
    "a@3:0.2:gate=b@1>=0.05": Steer(
        name="a", layers=(3,), strength=0.2, gate=GateOn(name="b", layer=1, threshold=0.05)
    ),
    "a@3:0.2:gate=b<-0.5": Steer(
        name="a", layers=(3,), strength=0.2, gate=GateOn(name="b", threshold=-0.5, above=False)
    ),
}


@pytest.mark.parametrize("text", TEXTS)
def test_texts(text: str) -> None:
    assert parse_steer(text) == TEXTS[text]
    assert parse_steer(str(TEXTS[text])) == TEXTS[text], "what it is shown as says the same"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected NAME@LAYERS:STRENGTH"),
        ("@12:0.4", "expected NAME@LAYERS:STRENGTH"),
        ("a@:0.4", "layers ''"),
        ("a@x:0.4", "layers 'x'"),
        ("a@-3:0.4", "layers '-3'"),
        ("a@3,3:0.4", "each layer once"),
        ("a@14-10:0.4", "layers '14-10'"),
        ("a@3:loud", "'loud' is no finite number"),
        ("a@3:nan", "'nan' is no finite number"),
        ("a@3:0.1:0.2:mode=loud", "mode"),
        ("a@3:0.1:colour=red", "no option 'colour'. There are: mode, where"),
        ("a@3:0.1:coefficient=2", "two ways"),
        ("a@3:0.1:mode=clamp:low=0", "takes no strength"),
        ("a@3:mode=clamp", "needs 'low', 'high'"),
        ("a@3:mode=clamp:low=1:high=0", "above"),
        ("a@3:0.1:high=1", "belong to the mode clamp"),
        ("a@3:0.1:half_life=0", "half_life"),
        ("a@3:0.1:gate=b", "gate 'b'"),
        ("a@3:0.1:gate=b>=x", "'x' is no finite number"),
    ],
)
def test_what_is_no_steer(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_steer(text)
    assert said in str(caught.value)


def test_what_is_added() -> None:
    vector = small_vector()
    strong, other = steerings(
        [parse_steer("a@1:0.4"), parse_steer("b@2:coefficient=-2:where=response:half_life=3")],
        {"a": vector, "b": vector},
    )
    assert (strong.layer, strong.mode, strong.span, strong.half_life) == (1, "add", ALL, None)
    np.testing.assert_allclose(strong.vector_D.numpy(), vector.scaled_D(1, 0.4), rtol=1e-6)
    np.testing.assert_allclose(float(strong.vector_D.norm()), 0.4 * vector.residual_norm(1), rtol=1e-5)
    assert (other.layer, other.span, other.half_life) == (2, RESPONSE, 3)
    np.testing.assert_allclose(other.vector_D.numpy(), -2 * vector.direction_D(2), rtol=1e-6)


def test_bounds_and_thresholds_are_in_strengths() -> None:
    vector = small_vector()
    (capped,) = steerings([parse_steer("a@1:mode=clamp:high=0.2:gate=a@0>=0.1")], {"a": vector})
    assert capped.low is None
    assert capped.high == pytest.approx(0.2 * vector.residual_norm(1))
    assert capped.gate is not None
    assert capped.gate.layer == 0
    assert capped.gate.threshold == pytest.approx(0.1 * vector.residual_norm(0))
    np.testing.assert_array_equal(capped.gate.vector_D.numpy(), vector.direction_D(0))


def test_a_band_steers_every_layer_of_it() -> None:
    vector = small_vector()
    found = steerings([parse_steer("a@0-2:0.1:where=divergence")], {"a": vector})
    assert [each.layer for each in found] == [0, 1, 2]
    assert {each.span for each in found} == {DIVERGENCE}
    for each in found:
        np.testing.assert_allclose(each.vector_D.numpy(), vector.scaled_D(each.layer, 0.1), rtol=1e-6)


def recommending(**way: str) -> SteeringVector:
    vector = small_vector()
    evidence = {**vector.evidence, "verdict": {"decision": "use", **way}}
    return replace(vector, recommended_layer=2, recommended_strength=-0.3, evidence=evidence)


def test_recommendations() -> None:
    vectors = {"a": recommending()}
    (full,) = resolved([parse_steer("a")], vectors)
    assert (full.layers, full.strength) == ((2,), -0.3)
    (elsewhere,) = resolved([parse_steer("a@1")], vectors)
    assert (elsewhere.layers, elsewhere.strength) == ((1,), -0.3)
    (full,) = resolved([parse_steer("a")], {"a": recommending(mode="keep_norm", where="response")})
    assert (full.mode, full.where, full.strength) == ("keep_norm", "response", -0.3)
    (full,) = resolved([parse_steer("a")], {"a": recommending(mode="clamp", where="all")})
    assert (full.mode, full.low, full.high, full.strength) == ("clamp", None, -0.3, None)
    with pytest.raises(ConfigError, match="recommends nothing"):
        resolved([parse_steer("a@1")], {"a": small_vector()})
    with pytest.raises(ConfigError, match=r"no vector 'b'; given with --vector: a"):
        resolved([parse_steer("b")], vectors)
    with pytest.raises(LayerError, match="no layer 7"):
        steerings([parse_steer("a@7:0.1")], vectors)
    with pytest.raises(VectorError, match="how large"):
        steerings([parse_steer("a@1:0.1")], {"a": replace(small_vector(), residual_norm_L=None)})


def test_flags() -> None:
    assert steers_from_flags(["a@1:0.2"], ["a"], None, Size()) == (parse_steer("a@1:0.2"),)
    assert steers_from_flags([], ["a"], 1, Size(0.2)) == (parse_steer("a@1:0.2"),)
    assert steers_from_flags([], ["a", "b"], None, Size()) == (Steer(name="a"), Steer(name="b"))
    with pytest.raises(ConfigError, match="say it there"):
        steers_from_flags(["a@1:0.2"], ["a"], 1, Size())
    with pytest.raises(ConfigError, match="are for one vector"):
        steers_from_flags([], ["a", "b"], None, Size(0.2))


def test_names(tmp_path: Path) -> None:
    odd = tmp_path / "a=b.safetensors"
    odd.write_bytes(b"")
    pairs = files_of(["mine=x/v.gguf", "y/formal.safetensors", str(odd)])
    assert pairs == [("mine", Path("x/v.gguf")), ("", Path("y/formal.safetensors")), ("", odd)]
    vectors = [small_vector(), small_vector(), replace(small_vector(), trait="")]
    assert list(named(pairs, vectors)) == ["mine", "emoji", "a=b"], "as given, by the trait, by the file"
    with pytest.raises(ConfigError, match="both called 'a=b'"):
        named([("a=b", odd), ("", odd)], vectors[1:])
    with pytest.raises(ConfigError, match="expected FILE or NAME=FILE"):
        files_of(["emoji="])


@pytest.mark.parametrize("direction", [None, 4])
def test_conditions_of_a_sweep(direction: int | None) -> None:
    vector = small_vector()
    added = steering_at(Spot("", "keep_norm", "response", 1, -0.2), vector, direction)
    assert (added.mode, added.span, added.low, added.high) == ("keep_norm", RESPONSE, None, None)
    np.testing.assert_allclose(float(added.vector_D.norm()), 0.2 * vector.residual_norm(1), rtol=1e-5)
    along = torch.nn.functional.cosine_similarity(added.vector_D, torch.from_numpy(vector.direction_D(1)), dim=0)
    assert (float(along) < -0.999) == (direction is None)
    floor = steering_at(Spot("", "clamp", "all", 1, 0.2), vector, direction)
    assert floor.low == pytest.approx(0.2 * vector.residual_norm(1))
    assert floor.high is None
    ceiling = steering_at(Spot("", "clamp", "all", 1, -0.2), vector, direction)
    assert ceiling.low is None
    assert ceiling.high == pytest.approx(-0.2 * vector.residual_norm(1))
    torch.testing.assert_close(floor.vector_D, ceiling.vector_D)  # one axis, held from either side
