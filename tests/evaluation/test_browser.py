"""The report in a real browser: the pictures are drawn, and what a model wrote is shown and never run."""

import shutil
import subprocess
from pathlib import Path

import pytest

from steer_llama.evaluation.page import render_report
from tests.evaluation.test_page import EVIDENCE, confirmed, verdict_of

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=10000", "--dump-dom"),
]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (.ci/run installs Debian's)")
def test_a_browser_draws_the_pictures_and_runs_nothing_of_the_models(tmp_path: Path) -> None:
    hostile = "some words of an answer 🎉 <script>document.title='run'</script>"
    every = confirmed(text=hostile)
    page = tmp_path / "report.html"
    page.write_text(render_report(verdict_of(every), every, EVIDENCE, 4, "the report"), encoding="utf-8")
    command = [str(CHROMIUM), *QUIET, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert dom.count('class="main-svg"') >= 5, "plotly drew its pictures"
    assert 'class="heatmaplayer' in dom
    assert "<title>the report</title>" in dom, "the answer's script did not run"
    assert "&lt;script&gt;document.title" in dom
