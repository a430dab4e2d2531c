"""The YAML block at the top of a card, which the hub reads: written, and read from a base model's README."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

_HUB_ID = re.compile(r"(?!.*(?:--|\.\.|\.git$))\w(?:[\w.-]*\w)?/\w(?:[\w.-]*\w)?", re.ASCII)
_FRONT = re.compile(r"\A---\r?\n(.*?\r?\n)---\s*(?:\r?\n|\Z)", re.DOTALL)
_LICENSE_KEYS = ("license", "license_name", "license_link")
_SHORT = re.compile(r"[\w.+/:#?&=%~-]{1,200}", re.ASCII)
_MOST = 100_000
"""Characters of a README that are looked at."""


def hub_id(*candidates: str | None) -> str | None:
    """The first that looks like the hub's ``owner/name``."""
    for candidate in candidates:
        if candidate and len(candidate) <= 96 and _HUB_ID.fullmatch(candidate):
            return candidate
    return None


def front_matter(values: Mapping[str, Any]) -> str:
    """The block; keys whose value is ``None`` or empty are left out."""
    told = {key: value for key, value in values.items() if value}
    return f"---\n{yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=1000)}---\n"


def base_license(readme: str) -> dict[str, str]:
    """``license``, ``license_name`` and ``license_link`` of a model's README; empty where it says nothing."""
    found = _FRONT.match(readme[:_MOST].removeprefix("\ufeff"))
    if not found:
        return {}
    try:
        values = yaml.safe_load(found.group(1))
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    if not isinstance(values, dict):
        return {}
    told = {key: values.get(key) for key in _LICENSE_KEYS}
    return {key: value for key, value in told.items() if isinstance(value, str) and _SHORT.fullmatch(value)}
