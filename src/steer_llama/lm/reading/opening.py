"""From settings to a reader."""

from importlib import import_module

from steer_llama.config import ExtractSettings, ModelSettings
from steer_llama.errors import ConfigError
from steer_llama.lm.reading.conversation import Reader
from steer_llama.lm.reading.local import local_reader
from steer_llama.lm.reading.parallel import Follower, world_size
from steer_llama.lm.reading.served import open_server
from steer_llama.lm.reading.vllm_process import open_vllm
from steer_llama.progress import Reporter, SilentReporter


def open_reader(model: ModelSettings, settings: ExtractSettings, reporter: Reporter) -> Reader:
    """Load the weights into the backend that the settings name.

    Raises:
        ConfigError: the weights are named by an address, and the backend is not ``vllm``.
        ModelError: nothing loadable is there, or the backend cannot run it.
    """
    served = model.where.startswith(("http://", "https://"))
    if world_size() > 1 and settings.backend != "transformers":
        raise ConfigError(
            f"--backend {settings.backend} under torchrun: only the transformers backend slices a model over its "
            "processes. Start it without torchrun."
        )
    if settings.backend == "vllm":
        return open_server(model, reporter) if served else open_vllm(model, reporter)
    if served:
        raise ConfigError(
            f"{model.where}: is the address of a server, which only --backend vllm can read. "
            f"For --backend {settings.backend}, name a folder, a GGUF file, a hub id, or smollm2."
        )
    if settings.backend == "transformer_lens":
        # Imported when it is wanted: TransformerLens takes some 15 s to import, which nobody else shall wait for.
        reader: Reader = import_module("steer_llama.lm.reading.bridge").open_bridge(model, reporter)
        return reader
    return local_reader(model, settings, reporter)


def follow(model: ModelSettings, settings: ExtractSettings) -> None:
    """Take part in what rank 0 reads, until it is done (see `parallel`).

    Raises:
        ModelError: the weights cannot be loaded.
    """
    reader = open_reader(model, settings, SilentReporter())
    assert isinstance(reader, Follower), "a rank above 0 follows"
    reader.follow()
