from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.command import one_thread, steer_llama
from tests.cli.small_run import write_small_run
from tests.lm.models import save_tiny_llama


@dataclass(frozen=True)
class Made:
    """A model folder, a configuration, and the folder of its finished run."""

    model: Path
    config: Path
    out: Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("made")
    with one_thread():
        model = save_tiny_llama(folder / "tiny")
        made = Made(model, write_small_run(folder, model), folder / "out")
        ran = steer_llama("run", made.config, "-o", made.out)
        assert ran.code == 0, ran.err
        yield made
