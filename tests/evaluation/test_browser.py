"""The report in a real browser: pictures are drawn, tables copied, and what a model wrote is shown and never run."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from steer_llama.evaluation.page import render_report
from tests.evaluation.test_page import EVIDENCE, confirmed, verdict_of
from tests.evaluation.whole import everything, judged, side_effects

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=10000", "--dump-dom"),
]

# Presses every button, with the clipboard and the download replaced by what writes down what they were given.
PRESS = """
<pre id="seen"></pre><script>
addEventListener("load", async () => {
  const seen = { copied: {}, saved: [], drawn: [] };
  let last = "";
  navigator.clipboard.writeText = async (text) => { last = text; };
  HTMLAnchorElement.prototype.click = function () { seen.drawn.push([this.download, this.href.slice(0, 30)]); };
  const real = Plotly.downloadImage, pending = [];
  Plotly.downloadImage = (figure, how) => {
    seen.saved.push([how.filename, how.format, figure.layout.paper_bgcolor]);
    if (how.filename === "style") pending.push(real(figure, how));
  };
  for (const button of document.querySelectorAll("button")) {
    button.click();
    await new Promise((done) => setTimeout(done, 20));
    if (button.dataset.copy) seen.copied[button.dataset.of + " " + button.dataset.copy] = last;
  }
  await Promise.all(pending);
  seen.width = [document.documentElement.scrollWidth, innerWidth];
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>
"""


def browsed(page: Path, folder: Path, *more: str) -> str:
    command = [str(CHROMIUM), *QUIET, *more, f"--user-data-dir={folder / 'profile'}", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (.ci/run installs Debian's)")
def test_a_browser_draws_the_pictures_and_runs_nothing_of_the_models(tmp_path: Path) -> None:
    hostile = "some words of an answer 🎉 <script>document.title='run'</script>"
    every = confirmed(text=hostile)
    page = tmp_path / "report.html"
    page.write_text(render_report(verdict_of(every), every, EVIDENCE, 4, "the report"), encoding="utf-8")
    dom = browsed(page, tmp_path)
    assert dom.count('class="main-svg"') >= 5, "plotly drew its pictures"
    assert 'class="heatmaplayer' in dom
    assert "<title>the report</title>" in dom, "the answer's script did not run"
    assert "&lt;script&gt;document.title" in dom


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (.ci/run installs Debian's)")
def test_tables_are_copied_and_pictures_saved(tmp_path: Path) -> None:
    every = everything()
    verdict = judged(every, source_name=r"a|b_c & 100% {d} \e <i> $x", target_name="llama")
    verdict = verdict.model_copy(update={"side_effects": side_effects()})
    written = render_report(verdict, every, EVIDENCE, 2, "the report")
    page = tmp_path / "report.html"
    page.write_text(written.replace("</body>", PRESS + "</body>"), encoding="utf-8")
    dom = browsed(page, tmp_path, "--window-size=500,900")
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
    assert found, "the page's script ran to its end"
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))

    assert seen["width"][0] <= seen["width"][1], "nothing is wider than a phone"
    plots = set(re.findall(r'id="([\w-]+)" class="plotly-graph-div"', written))
    assert len(plots) >= 12
    assert {(name, kind) for name, kind, _ in seen["saved"]} == {(n, k) for n in plots for k in ("svg", "png")}
    assert {paper for _, _, paper in seen["saved"]} == {"#ffffff"}
    drawn = dict(seen["drawn"])
    assert drawn.keys() == {"style.svg", "style.png"}, "plotly made files of them"
    assert all(address.startswith("blob:") for address in drawn.values())

    markdown = seen["copied"]["results markdown table"].splitlines()
    assert markdown[0].startswith("| answers of | style gap closed, % | style distance | answers with emoji, % |")
    assert markdown[1].startswith("| :--- | ---: |")
    assert len(markdown) == 2 + len(verdict.arms)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in markdown}) == 1, "as many cells in every line"
    assert markdown[3].startswith("| **llama, steered** | **")
    assert any(line.startswith(r"| a\|b\_c & 100% {d} \\e &lt;i> $x (source) |") for line in markdown)

    latex = seen["copied"]["results latex table"]
    assert r"\begin{tabular}{lrrrrrr}" in latex
    assert latex.count(r"\\") == 1 + len(verdict.arms)
    assert r"effect size $d_z$ \\" in latex
    assert r"a$|$b\_c \& 100\% \{d\} \textbackslash{}e $<$i$>$ \$x (source)" in latex
    assert r"\textbf{llama, steered}" in latex
    assert "−" not in "".join(text for name, text in seen["copied"].items() if "latex" in name)
    assert r"\paragraph{Intervention.} We steered tiny" in seen["copied"]["methods latex text"]
    assert seen["copied"]["methods plain text"].startswith("Intervention. We steered tiny")
