import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from rich.cells import cell_len
from rich.console import Console

from steer_llama.cli.layer_table import show_layers
from steer_llama.stages.inspect import inspect
from steer_llama.vectors import (
    ESTIMATORS,
    FORMATS,
    Resampling,
    SteeringVector,
    as_columns,
    layer_evidence,
    open_vector,
    save_vector,
    write_vector,
)
from steer_llama.vectors.picture import draw
from tests.cli.command import steer_llama
from tests.vectors.test_algebra import E64, EMOJI, P64, PLAYFUL, made
from tests.vectors.test_estimators import noise


def full(n_layers: int, width: int = 16, **changes: Any) -> SteeringVector:
    """A vector with every column of evidence; at layer 1 its norm is below the null's."""
    random = np.random.default_rng(n_layers)
    directions_LD = random.standard_normal((n_layers, width)).astype(np.float32)
    norm_L = np.linalg.norm(directions_LD.astype(np.float64), axis=1)
    drawn, estimate = Resampling.draw(6, 20, 0), ESTIMATORS["mean_diff"]
    columns = as_columns([layer_evidence(estimate, *noise(6, 8, seed), drawn) for seed in range(n_layers)])
    share_L = random.uniform(0, 1, n_layers).tolist()
    evidence: dict[str, Any] = {
        **columns, "pairs": 6, "layers": list(range(n_layers)), "norm": norm_L.tolist(), "folds": 5,
        "null_norm": [norm / 2 if layer != 1 else 2 * norm for layer, norm in enumerate(norm_L)],
        "held_out_auroc": share_L, "held_out_cohens_d": [4 * share for share in share_L], "null_p": share_L,
        "confounds": {"length": 0.3}, "data_fingerprint": "0123456789abcdef", "steer_llama": "9.9",
    }  # fmt: skip
    given = SteeringVector(
        directions_LD=directions_LD,
        layers=tuple(range(n_layers)),
        residual_norm_L=np.linspace(40, 80, n_layers, dtype=np.float32),
        model="m",
        model_fingerprint="f" * 64,
        trait="emoji",
        estimator="mean_difference",
        positions="response",
        dtype="bfloat16",
        evidence=evidence,
    )
    return replace(given, **changes)


def saved(path: Path, given: SteeringVector) -> Path:
    write_vector(path, given)
    return path


def table(text: str) -> dict[str, dict[str, str]]:
    """The rows of the table by layer, and their cells by column; bars are left out."""
    lines = re.sub("[█▏▎▍▌▋▊▉]", "", text).splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith(("layer ", " layer")))
    rows = [line.split() for line in lines[head + 2 :]]
    after = next(
        number for number, row in enumerate(rows) if not row or not row[0].lstrip("▸").isdigit() or row[1] == "of"
    )
    rows = rows[:after]
    return {row[0]: dict(zip(lines[head].split(), row, strict=True)) for row in rows}


def test_what_a_file_holds(tmp_path: Path) -> None:
    given = full(5, recommended_layer=3, recommended_strength=0.2)
    ran = steer_llama("inspect", saved(tmp_path / "v", given))
    assert (ran.code, ran.err) == (0, "")
    told = {" ".join(line.split()[:1]): line.strip() for line in ran.out.splitlines() if line.strip()}
    assert "steer-llama's own (safetensors)" in told["format"]
    assert told["model"].split() == ["model", "m"]
    assert told["fingerprint"].split() == ["fingerprint", "f" * 12]
    for part in ("bfloat16", "mean_difference", "response", "5: 0 to 4, each 16 wide", "layer 3, strength 0.2",
                 "0123456789ab", '{"length": 0.3}', "steer-llama 9.9", "row i is the block that"):  # fmt: skip
        assert part in ran.out
    rows = table(ran.out)
    assert list(rows) == ["0", "1", "2", "▸3", "4"]
    for row, (layer, cells) in enumerate(rows.items()):
        boot, ev = given.evidence["bootstrap_cosine"], given.evidence
        assert float(cells["‖v‖"]) == pytest.approx(ev["norm"][row], rel=5e-3)
        assert float(cells["rel."]) == pytest.approx(ev["norm"][row] / (40 + 10 * row), abs=0.006)
        assert float(cells["cosine"]) == pytest.approx(boot["mean"][row], abs=0.006)
        low, high = re.findall(r"-?\d\.\d\d", cells["95%"])
        assert (float(low), float(high)) == pytest.approx((boot["low"][row], boot["high"][row]), abs=0.006)
        assert float(cells["halves"]) == pytest.approx(ev["split_half_cosine"][row], abs=0.006)
        assert float(cells["opp."]) == pytest.approx(ev["opposed_share"][row], abs=0.006)
        assert float(cells["AUROC"]) == pytest.approx(ev["held_out_auroc"][row], abs=0.006)
        assert float(cells["d"]) == pytest.approx(ev["held_out_cohens_d"][row], abs=0.006)
        assert cells["×null"] == ("◁0.5" if layer == "1" else "2.0")


@pytest.mark.parametrize("n_layers", [1, 30, 48, 80, 126])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_the_terminal(tmp_path: Path, n_layers: int, width: int) -> None:
    given = full(n_layers, recommended_layer=n_layers // 3 * 2)
    (one,) = inspect(saved(tmp_path / "v", given))
    console = Console(width=width, record=True, file=(tmp_path / "out").open("w"))
    show_layers(console, one, every_layer=False)
    text = console.export_text()
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    rows = table(text)
    shown = [int(layer.lstrip("▸")) for layer in rows]
    assert given.residual_norm_L is not None
    longest = int((np.linalg.norm(given.directions_LD, axis=1) / given.residual_norm_L).argmax())
    assert {0, n_layers - 1, longest, given.recommended_layer} <= set(shown)
    assert shown == sorted(set(shown))
    if n_layers <= 48:
        assert shown == list(range(n_layers))
    else:
        assert len(shown) < 54
        assert f"{len(shown)} of {n_layers} layers (all: --every-layer)" in text
        (line,) = [line for line in text.splitlines() if set(line) <= set("▁▂▃▄▅▆▇█") and line]
        assert len(line) == (n_layers if n_layers <= width else -(-n_layers // -(-n_layers // width)))
    if width == 80:
        assert "Too wide" not in text
        assert "█" in text
    show_layers(console, one, every_layer=True)
    assert len(table(console.export_text())) == n_layers


def test_rows_are_in_the_order_of_layers_whatever_the_files(tmp_path: Path) -> None:
    given = full(5)
    order = [3, 0, 4, 1, 2]
    assert given.residual_norm_L is not None
    turned = replace(
        given,
        directions_LD=given.directions_LD[order],
        layers=tuple(order),
        residual_norm_L=given.residual_norm_L[order],
    )
    one, other = (steer_llama("inspect", saved(tmp_path / "v", v)) for v in (given, turned))
    assert list(table(one.out).items()) == list(table(other.out).items())  # the evidence names its own layers


def test_a_vector_without_evidence_or_residual(tmp_path: Path) -> None:
    bare = SteeringVector(np.ones((3, 8), np.float32), (1, 2, 5), None, "", "", "", "", "")
    ran = steer_llama("inspect", saved(tmp_path / "v", bare), "--png", tmp_path / "v.png")
    assert ran.code == 0
    assert "its norm is not known, so that a strength has no meaning" in ran.out
    assert ran.out.count("not known") >= 4
    assert {layer: cells["‖v‖"] for layer, cells in table(ran.out).items()} == dict.fromkeys("125", "2.83")
    assert "rel." not in ran.out
    assert (tmp_path / "v.png").stat().st_size > 1000


def test_json_is_all_of_it(tmp_path: Path) -> None:
    given = full(3, recommended_layer=2)
    given.evidence["more"] = [1, None, float("nan")]
    given.evidence["strange"] = {"a": [float("inf")]}
    ran = steer_llama("inspect", saved(tmp_path / "v", given), "--json")
    assert (ran.code, ran.err) == (0, "")
    (one,) = json.loads(ran.out, parse_constant=pytest.fail)["files"]
    assert (one["format"], one["model"], one["layers"], one["width"]) == ("steer-llama", "m", [0, 1, 2], 16)
    assert (one["recommended_layer"], one["model_fingerprint"]) == (2, "f" * 64)
    np.testing.assert_allclose(one["norm"], np.linalg.norm(given.directions_LD, axis=1), rtol=1e-6)
    np.testing.assert_allclose(one["relative_norm"], np.array(one["norm"]) / [40, 60, 80], rtol=1e-6)
    assert one["columns"]["held_out_auroc"] == {"value": given.evidence["held_out_auroc"], "low": None, "high": None}
    boot = given.evidence["bootstrap_cosine"]
    assert one["columns"]["bootstrap_cosine"] == {"value": boot["mean"], "low": boot["low"], "high": boot["high"]}
    assert one["columns"]["more"]["value"] == [1, None, None]
    assert one["facts"]["confounds"] == {"length": 0.3}
    assert one["facts"]["strange"] == {"a": [None]}


def test_several_files_of_one_model(tmp_path: Path) -> None:
    paths = [saved(tmp_path / "e", EMOJI), saved(tmp_path / "p", replace(PLAYFUL, recommended_layer=7))]
    cosine_L = [float(e @ p) / np.linalg.norm(e) / np.linalg.norm(p) for e, p in zip(E64, P64, strict=True)]
    ran = steer_llama("inspect", *paths, "--png", tmp_path / "both.png")
    assert ran.code == 0
    assert "cosines, at layer 7" in ran.out
    assert f"1 emoji    1.00 {cosine_L[1]:5.2f}" in ran.out
    found = json.loads(steer_llama("inspect", *paths, "--json").out)["cosines"]
    assert (found["files"], found["layers"], found["recommended_layer"]) == (
        [str(path) for path in paths],
        [4, 7, 9],
        7,
    )
    np.testing.assert_allclose([matrix[0][1] for matrix in found["cosine"]], cosine_L, rtol=1e-6)


def test_files_with_other_layers_are_compared_where_both_have_some(tmp_path: Path) -> None:
    paths = [saved(tmp_path / "e", EMOJI), saved(tmp_path / "p", PLAYFUL[5:])]
    found = json.loads(steer_llama("inspect", *paths, "--json").out)["cosines"]
    assert found["layers"] == [7, 9]
    mean = np.mean([matrix[0][1] for matrix in found["cosine"]])
    assert np.sign(mean) == np.sign(np.mean([float(e @ p) / np.linalg.norm(e) / np.linalg.norm(p)
                                             for e, p in zip(E64[1:], P64[1:], strict=True)]))  # fmt: skip
    assert "cosines, mean over 2 layers" in steer_llama("inspect", *paths).out
    alone = [paths[0], saved(tmp_path / "o", made("other", 4, layers=(0, 1, 2)))]
    assert "no layer in common" in steer_llama("inspect", *alone).out


def test_files_of_several_models_are_shown_without_cosines(tmp_path: Path) -> None:
    paths = [saved(tmp_path / "e", EMOJI), saved(tmp_path / "o", made("other", 4, model_fingerprint="xyz"))]
    ran = steer_llama("inspect", *paths)
    assert ran.code == 0
    assert "no cosines between them" in ran.out
    assert "are of different models" in ran.out
    assert json.loads(steer_llama("inspect", *paths, "--json").out)["cosines"] is None


def test_the_picture_shows_the_numbers_at_their_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig

    def kept(self: Figure, *arguments: Any, **options: Any) -> None:
        drawn.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", kept)
    given = full(6, recommended_layer=4)
    draw(tmp_path / "v.png", [("emoji", given)])
    length, agreement = drawn[0].axes
    lines = {str(line.get_label()): np.array(line.get_xydata(), dtype=float) for line in length.get_lines()}
    norm_L = np.linalg.norm(given.directions_LD.astype(np.float64), axis=1)
    np.testing.assert_allclose(lines["‖v‖"], list(enumerate(norm_L / given.residual_norm_L)), rtol=1e-6)
    null = lines["null: 95% quantile with arms swapped at random"]
    np.testing.assert_allclose(
        null, list(enumerate(np.array(given.evidence["null_norm"]) / given.residual_norm_L)), rtol=1e-6
    )
    lines = {str(line.get_label()): np.array(line.get_xydata(), dtype=float) for line in agreement.get_lines()}
    np.testing.assert_allclose(lines["AUROC on held-out pairs"], list(enumerate(given.evidence["held_out_auroc"])))
    assert "layer" in agreement.get_xlabel()
    assert "‖residual‖" in length.get_ylabel()
    pixels = imread(tmp_path / "v.png")
    assert min(pixels.shape[:2]) > 500
    assert (pixels[..., :3].min(axis=-1) < 0.5).mean() > 0.005


def test_names_that_a_picture_or_a_terminal_would_take_for_commands(tmp_path: Path) -> None:
    evil = "[bold red]x[/] $\\frac{ \x1b[31m\x07 \u202e 😀 :smile:\nnext"
    given = full(3, trait=evil, model=evil, evidence={"[/red]": evil, evil: [1, 2, 3], "pairs": evil})
    path = saved(tmp_path / "[green]$_.safetensors", given)
    ran = steer_llama(
        "inspect", path, saved(tmp_path / "_", replace(given, trait="_hidden")), "--png", tmp_path / "v.png"
    )
    assert ran.code == 0
    for literal in ("[bold red]x[/] $\\frac{", ":smile: next", "[/red]", "[green]$_.safetensors", "😀"):
        assert literal in ran.out
    assert not set(ran.out) & {"\x1b", "\x07", "\u202e"}
    assert (tmp_path / "v.png").stat().st_size > 1000
    assert json.loads(steer_llama("inspect", path, "--json").out)["files"][0]["trait"] == evil


def test_evidence_of_any_shape_is_shown_or_listed(tmp_path: Path) -> None:
    draw_ = random.Random(0)
    spelled = {
        "null_norm": "×null", "opposed_share": "opp.", "split_half_cosine": "halves", "null_p": "p",
        "held_out_auroc": "AUROC", "held_out_cohens_d": " d", "combination": "made of", "bootstrap_cosine": "cosine",
    }  # fmt: skip
    hidden = {"norm", "relative_norm", "residual_norm", "layers"}
    names = ["mean", "low", "high", "expression", "parents", "kept", "notes", "decision", "sentence", "y"]

    def anything(depth: int) -> Any:
        kind = draw_.randrange(4 if depth else 1)
        if kind == 0:
            return draw_.choice([None, True, 0, -1.5, 1e308, float("nan"), float("-inf"), 10**400, "", "text[/]"])
        if kind == 1:
            return [anything(depth - 1) for _ in range(draw_.choice([0, 1, 3, 3, 3, 4]))]
        if kind == 2:
            return [draw_.choice([1, 0.5, None, 3]) for _ in range(3)]
        return {key: anything(depth - 1) for key in draw_.sample(names, draw_.randrange(4))}

    for turn in range(60):
        evidence = {key: anything(3) for key in draw_.sample([*spelled, *hidden, "bootstrap_norm", "verdict", "x"], 5)}
        path = saved(tmp_path / "v", made("emoji", 1, evidence=evidence))
        picture = ["--png", tmp_path / "v.png"] if turn % 20 == 0 else []
        ran = steer_llama("inspect", path, *picture)
        assert ran.code == 0, (ran.err, evidence)
        for key in evidence.keys() - hidden:
            ways = (key, key.replace("_", " "), spelled.get(key, key))
            assert any(way in ran.out for way in ways), (key, evidence)
        json.loads(steer_llama("inspect", path, "--json").out, parse_constant=pytest.fail)


def test_files_of_another_kind(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = [1]
    (tmp_path / "m.gguf").write_bytes(b"GGUF\3\0\0\0" + bytes(16))
    (tmp_path / "r.bin").write_bytes(random.Random(0).randbytes(5000))
    (tmp_path / "empty").touch()
    for name, says in (
        ("a.h5", "no vector's file; it looks like HDF5, as activations are: `steer-llama fit`"),
        ("m.gguf", "If it is a model's GGUF, give it to --model"),
        ("r.bin", "r.bin: of no format that"),
        ("empty", "is empty"),
        (".", "is a folder"),
        ("none", "no such file"),
    ):
        ran = steer_llama("inspect", tmp_path / name)
        assert (ran.code, ran.out) == (2, "")
        assert says in ran.said
        assert "Traceback" not in ran.err
    good = saved(tmp_path / "v", EMOJI)
    assert "format 'pt': unknown" in steer_llama("inspect", good, "--format", "pt").said
    assert "it is a folder" in steer_llama("inspect", good, "--png", tmp_path).said
    assert steer_llama("inspect").code == 2


def test_a_file_that_could_be_of_two_formats_is_shown_as_both(tmp_path: Path) -> None:
    path = tmp_path / "v.pt"
    save_vector(path, replace(EMOJI, layers=(0, 1, 2)), "assistant-axis")
    ran = steer_llama("inspect", path)
    assert ran.code == 0
    told = (
        "the file does not tell whether it is of assistant-axis or persona-vectors; settle it with --format. Shown as "
    )
    for form, layers in (("assistant-axis", "3: 0 to 2"), ("persona-vectors", "2: 0 to 1")):
        assert f"{told}{form}." in ran.out
        assert layers in ran.out
    assert "does not tell its format" in steer_llama("inspect", path, path).out
    alone = steer_llama("inspect", path, "--format", "persona-vectors").out
    assert "does not tell whether" not in alone
    # Its row k is the output of block k-1: layer 0 has the file's second row.
    assert table(alone)["0"]["‖v‖"] == f"{np.linalg.norm(E64[1]):#.3g}"


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_format_can_be_shown(tmp_path: Path, form: str) -> None:
    given = replace(EMOJI, layers=(0, 1, 2))
    path = tmp_path / f"v{FORMATS[form].suffix}"
    save_vector(path, given, form)
    ran = steer_llama("inspect", path, "--format", form)
    assert (ran.code, ran.err) == (0, "")
    assert f"{form}: {FORMATS[form].title}" in ran.out
    norms = [cells["‖v‖"] for cells in table(ran.out).values()]
    held = set(read_back(path, form).layers)
    assert norms == [f"{np.linalg.norm(given.direction_D(layer)):#.3g}" for layer in (0, 1, 2) if layer in held]


def read_back(path: Path, form: str) -> SteeringVector:
    return open_vector(path, form).vector


def test_a_combination_tells_what_it_is_made_of(tmp_path: Path) -> None:
    emoji = replace(EMOJI, evidence={"pairs": 12})
    unknown = replace(PLAYFUL, model="", model_fingerprint="")
    ran = steer_llama("inspect", saved(tmp_path / "v", emoji + 0.5 * unknown))
    told = [line.strip() for line in ran.out.splitlines()]
    assert any(re.fullmatch(r"made of +emoji \+ 0\.5 \* playful", line) for line in told)
    assert any(
        re.fullmatch(r"emoji +emoji, mean_diff, response, 12 pairs, kept [\d.-]+ to [\d.-]+ of it", line)
        for line in told
    )
    assert any(re.match(r"assumed +0\.5 \* playful does not say which weights it is of", line) for line in told)
