"""What the docs say is checked against the program."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import yaml

from steer_llama import records
from steer_llama.activations import POSITIONS
from steer_llama.config import Config, parse_config
from steer_llama.packaged import demo_config, packaged_traits
from steer_llama.stages.steer_text import parse_steer
from steer_llama.style import METRICS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")


def test_cli_page_is_what_the_program_prints() -> None:
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_cli"] = module
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: uv run python docs/make_cli.py"


def test_readme_names_the_two_commands() -> None:
    blocks = re.findall(r"^```\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    assert "pip install uv && uv run steer-llama demo\n" in blocks
    assert "pip install uv && uv run pytest\n" in blocks


def test_readme_configuration_is_valid() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    config = parse_config(block, "README.md")
    assert (config.source.kind, config.target.kind, config.model.n_devices) == ("openai", "local", 8)


def test_demo_configuration_is_valid_for_every_packaged_trait() -> None:
    assert packaged_traits() == ["emoji", "formatting", "playful"]
    for trait in packaged_traits():
        assert parse_config(demo_config(), "demo.yaml", (f"trait={trait}",)).trait == trait


def test_readme_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} → {target}"


def test_every_steer_that_is_shown_can_be_read() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    shown = re.findall(r'--steer "([^"]+)"', pages)
    assert len(shown) >= 2
    for text in shown:
        parse_steer(text)


@pytest.mark.parametrize("record", ["Trait", "Elicitation", "Response", "Trial", "Verdict", "Measured"])
def test_formats_page_names_every_key(record: str) -> None:
    missing = [key for key in getattr(records, record).model_fields if f"`{key}`" not in FORMATS]
    assert not missing, f"docs/formats.md says nothing of {record}'s {missing}"


def test_formats_page_names_every_mask_and_metric() -> None:
    for name in (*POSITIONS, *METRICS):
        assert f"`{name}`" in FORMATS


def test_every_setting_has_a_section_in_the_demo_or_a_default() -> None:
    sections = set(yaml.safe_load(demo_config()))
    assert sections <= set(Config.model_fields)
