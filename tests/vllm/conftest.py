"""The real vLLM that these tests talk to. Without one they fail: a test that skips proves nothing."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from steer_llama.chat import OpenAICompatibleEndpoint
from steer_llama.config import EndpointSettings
from steer_llama.errors import EndpointError

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "local-vllm.yaml"


@dataclass(frozen=True)
class Vllm:
    base_url: str

    def settings(self, **others: Any) -> EndpointSettings:
        return EndpointSettings(base_url=self.base_url, model="smollm2", **others)

    def example(self, folder: Path, **sections: Any) -> Path:
        """The example's configuration, asking this server; ``sections`` replace keys in its sections."""
        config = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
        config["elicitation"] = str(EXAMPLE.parent / config["elicitation"])
        for endpoint in (config["author"]["endpoint"], config["source"], config["target"], config["judge"]["endpoint"]):
            endpoint["base_url"] = self.base_url
        for name, section in sections.items():
            config[name] = {**config[name], **section}
        path = folder / "vllm.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path


@pytest.fixture(scope="session")
def vllm() -> Vllm:
    base_url = os.environ.get("STEER_LLAMA_VLLM_URL")
    if not base_url:
        script = ROOT / "scripts" / "local-vllm"
        base_url = subprocess.run([script, "url"], check=True, capture_output=True, text=True).stdout.strip()
    vllm = Vllm(base_url)
    try:
        OpenAICompatibleEndpoint.from_settings("vllm", vllm.settings(timeout=10)).check_access()
    except EndpointError as error:
        pytest.fail(
            f"{error} These tests want a real vLLM: run scripts/local-vllm start (STEER_LLAMA_VLLM_URL names another).",
            pytrace=False,
        )
    return vllm
