"""The page of a monitored text: whole, escaped, alone, and coloured by a real browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from steer_llama.evaluation.monitor_page import render_monitored, sections
from tests.evaluation.monitored import SAID, axis, monitored
from tests.evaluation.test_browser import CHROMIUM, QUIET
from tests.evaluation.test_page import Page


class Parts(HTMLParser):
    """The texts of the parts, in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[tuple[dict[str, str | None], str]] = []
        self._open = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._open = tag == "span" and "p" in (found.get("class") or "").split()
        if self._open:
            self.parts.append((found, ""))

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.parts[-1] = (self.parts[-1][0], self.parts[-1][1] + data)


def test_the_text_is_whole_and_escaped() -> None:
    given = monitored()
    page = render_monitored(given, "a <title>")
    (text,) = given.texts
    # An HTML parser that follows the standard reads a bare CR as LF: only the reference keeps it.
    source = page.replace("\r", "\n")
    assert "".join(part for _, part in Parts(source).parts) == text.text.replace("\0", "␀")
    assert [index for attributes, _ in Parts(page).parts for index in [int(attributes["data-i"] or -1)]] == list(
        range(len(text.parts))
    )
    assert "".join(part for section in sections(text) for _, part in section.parts) == text.text
    assert [section.message for section in sections(text)] == [None, 0, None, 1, None, 2]


def test_nothing_of_the_text_is_run_and_nothing_is_loaded() -> None:
    page = render_monitored(monitored(), "a <title>")
    parsed = Page(page)
    tags = [tag for tag, _ in parsed.elements]
    assert tags.count("script") == 2
    assert not {"img", "b1", "i", "link", "iframe", "object", "embed", "base"} & set(tags)
    for _, attributes in parsed.elements:
        assert not {"src", "href", "action", "data", "srcset"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    assert "http" not in re.sub(r'"http://www\.w3\.org/2000/svg"', "", page).replace("http-equiv", "")
    assert "<i>two</i>" not in page


def in_a_browser(page: Path, fragment: str = "") -> str:
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={page.parent / 'profile'}", page.as_uri() + fragment]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (.ci/run installs Debian's)")
def test_a_browser_colours_the_parts_and_runs_nothing_of_the_text(tmp_path: Path) -> None:
    hostile = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
    given = monitored(axis("one"), axis("two"), said=(SAID[0], hostile, "third\r\n🎉"))
    page = tmp_path / "page.html"
    page.write_text(render_monitored(given, "the page"), encoding="utf-8", newline="")
    (text,) = given.texts
    for fragment, first, others in (("", "--less", "--more"), ("#1", "--more", "--less")):
        dom = in_a_browser(page, fragment)
        assert "<title>the page</title>" in dom
        shown = Parts(dom).parts
        assert "".join(part for _, part in shown).replace("\r", "") == text.text.replace("\r", "")
        for index, part in enumerate(text.parts):
            style = shown[index][0].get("style") or ""
            if index in text.massive[0]:
                assert "massive" in (shown[index][0]["class"] or "")
                assert "--" not in style
            elif part.message is not None:
                wanted, share = (first, 0.4) if part.message == 0 else (others, 0.6)
                assert f"var({wanted}), {0.65 * share:.3f}" in style
        assert "mean −0.200" in dom if not fragment else "mean +0.200" in dom
        assert dom.count("<circle") == 2, "the turns of the assistant"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None or shutil.which("node") is None, reason="no node here")
def test_the_script_is_sound(tmp_path: Path) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", render_monitored(monitored(), "t"), re.DOTALL)
    path = tmp_path / "page.js"
    path.write_text(script, encoding="utf-8")
    subprocess.run(["node", "--check", str(path)], check=True, timeout=60)
