"""What a stage is: the way through the pipeline is a list of these."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from steer_llama.config import Config
from steer_llama.progress import Reporter
from steer_llama.rundir import RunDir, Work


def _nobody(_: Config) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Stage:
    """One verb of the pipeline: what it reads and writes in the run folder, and the settings that it depends on."""

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    settings: Callable[[Config], Any]
    """JSON values; when one changes, the stage is run again, and so is what reads what it writes."""
    run: Callable[[Config, RunDir, Reporter], None]
    amends: tuple[str, ...] = ()
    """Files of earlier stages that it adds to."""
    asks: Callable[[Config], tuple[str, ...]] = _nobody
    """Chat models behind servers that it may ask, by what the configuration calls them (`Config.endpoints`)."""

    def work(self, config: Config) -> Work:
        """This stage under ``config``, for the run folder's ledger."""
        return Work(self.name, self.settings(config), self.reads, self.writes, self.amends)
