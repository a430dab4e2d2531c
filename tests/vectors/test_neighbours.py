"""Mean difference and PCA as steering-vectors 0.12 and repeng 0.4 compute them, on the same activations."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from steer_llama.vectors.estimators import mean_diff, pca
from tests.packages import imported, overlay, with_package
from tests.vectors.test_estimators import noise

pytestmark = pytest.mark.slow

ARMS = [noise(n_pairs, width, seed=n_pairs, planted=2) for n_pairs, width in ((12, 96), (80, 40))]

REPENG = """
import sys
import numpy as np

np.float_ = np.float64  # repeng asks for numpy 1, which called float64 by this name too
import repeng.extract as extract

given = np.load(sys.argv[1])
chosen, rejected = given["chosen"], given["rejected"]

class Model:
    class config:
        num_hidden_layers = 2
        model_type = "llama"

# Its own estimation, on activations that we give instead of those of a model that it would run.
extract.model_layer_list = lambda model: [None, None]
hidden = np.empty((2 * len(chosen), chosen.shape[1]), np.float32)
hidden[::2], hidden[1::2] = chosen, rejected
extract.batched_get_hiddens = lambda model, tokenizer, texts, layers, size: {layer: hidden.copy() for layer in layers}
pairs = [extract.DatasetEntry("", "")] * len(chosen)
found = {
    method: extract.read_representations(Model, None, pairs, method=method)[1]
    for method in ("pca_diff", "pca_center")
}
np.savez(sys.argv[2], **found)
"""


def unit(vector: np.ndarray) -> np.ndarray:
    unit_D: np.ndarray = vector / np.linalg.norm(vector)
    return unit_D


@pytest.mark.parametrize("arms", ARMS)
def test_steering_vectors_agrees(arms: tuple[np.ndarray, np.ndarray]) -> None:
    import torch

    chosen, rejected = (torch.from_numpy(arm) for arm in arms)
    with imported("steering_vectors", overlay("steering-vectors==0.12.2")) as package:
        mean, axis = (
            aggregate(chosen, rejected).numpy() for aggregate in (package.mean_aggregator(), package.pca_aggregator())
        )
    np.testing.assert_allclose(mean_diff(*arms)[0], mean, atol=1e-5 * float(np.linalg.norm(mean)))
    np.testing.assert_allclose(unit(pca(*arms)[0]), axis, atol=1e-5)  # its sign too


@pytest.mark.parametrize("arms", ARMS)
def test_repeng_agrees(arms: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    given, made = tmp_path / "given.npz", tmp_path / "made.npz"
    np.savez(given, chosen=arms[0], rejected=arms[1])
    command = [sys.executable, "-c", REPENG, str(given), str(made)]
    done = subprocess.run(command, env=with_package("repeng==0.4.0"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = np.load(made)
    for method, centred in (("pca_center", False), ("pca_diff", True)):
        axis = unit(pca(*arms, centred=centred)[0])
        # repeng's sign is that of most pairs, ours that of their mean.
        np.testing.assert_allclose(np.sign(axis @ theirs[method]) * axis, theirs[method], atol=1e-5)
