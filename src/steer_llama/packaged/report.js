"use strict";
const plots = (change) => document.querySelectorAll(".js-plotly-plot").forEach(change);
// A plot is drawn while the page is still being read, when the boxes beside it are not there yet.
addEventListener("load", () => plots((plot) => Plotly.Plots.resize(plot)));
// The paper's width is not known before printing; 640 pixels fit A4 and Letter.
addEventListener("beforeprint", () => plots((plot) => Plotly.relayout(plot, { autosize: false, width: 640 })));
addEventListener("afterprint", () => plots((plot) => Plotly.relayout(plot, { autosize: true, width: null })));

// Pictures on paper are dark on white, whatever the page is.
const onPaper = (plot) => ({
  data: plot.data,
  layout: {
    ...plot.layout, paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff",
    font: { ...plot.layout.font, color: "#1c1f26" },
  },
});
const saved = (plot, format) => ({
  format, filename: plot.id, width: Math.max(640, plot.offsetWidth), height: plot.offsetHeight,
  scale: format === "png" ? 3 : 1,
});

const LATEX = {
  "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", "–": "--", "×": "$\\times$",
  "→": "$\\rightarrow$", "ℓ": "$\\ell$", "≥": "$\\geq$", "‖": "$\\|$", "<": "$<$", ">": "$>$", "|": "$|$", "’": "'",
};
const latex = (text) => text.replace(/d_z/g, "\u0001")
  .replace(/[\\~^−–×→ℓ≥‖<>|’]|[&%$#_{}]/g, (mark) => LATEX[mark] ?? "\\" + mark).replaceAll("\u0001", "$d_z$");
const markdown = (text) => text.replace(/[\\|*_`]/g, "\\$&").replaceAll("<", "&lt;");
const words = (cell) => cell.textContent.replace(/\s+/g, " ").replaceAll("\u2011", "-").trim();
const lines = (table) => [...table.rows].map((row) => ({
  cells: [...row.cells].map(words), strong: row.classList.contains("strong"),
}));

function tableAsMarkdown(table) {
  const [head, ...rows] = lines(table);
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const body = rows.map(({ cells, strong }) => line(cells.map((cell) => strong ? `**${markdown(cell)}**` : markdown(cell))));
  return [line(head.cells.map(markdown)), line(head.cells.map((_, at) => at ? "---:" : ":---")), ...body, ""].join("\n");
}

function tableAsLatex(table) {
  const [head, ...rows] = lines(table);
  // A line that starts with a bracket would be read as an option of the line break before it.
  const line = (cells) => `${cells.join(" & ").replace(/^\[/, "{}[")} \\\\`;
  const body = rows.map(({ cells, strong }) => line(cells.map((cell) => strong ? `\\textbf{${latex(cell)}}` : latex(cell))));
  return [
    "% needs \\usepackage{booktabs}", "\\begin{table}", "  \\centering", `  \\caption{${latex(words(table.caption))}}`,
    `  \\label{tab:${table.id}}`, `  \\begin{tabular}{l${"r".repeat(head.cells.length - 1)}}`, "    \\toprule",
    `    ${line(head.cells.map(latex))}`, "    \\midrule", ...body.map((each) => `    ${each}`), "    \\bottomrule",
    "  \\end{tabular}", "\\end{table}", "",
  ].join("\n");
}

const paragraphs = (box) => [...box.querySelectorAll("p")].map((each) => {
  const title = each.querySelector("b");
  return [words(title), words(each).slice(words(title).length).trim()];
});
const AS = {
  "markdown table": tableAsMarkdown,
  "latex table": tableAsLatex,
  "plain text": (box) => paragraphs(box).map(([title, text]) => `${title} ${text}\n`).join("\n"),
  "latex text": (box) => paragraphs(box).map(([title, text]) => `\\paragraph{${latex(title)}} ${latex(text)}\n`).join("\n"),
};

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Where a page from a file may not use the clipboard.
    const box = document.body.appendChild(document.createElement("textarea"));
    box.value = text;
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    if (!done) throw new Error("no clipboard");
  }
}

addEventListener("click", async ({ target }) => {
  const button = target.closest?.("button");
  if (button?.dataset.save) {
    const plot = document.getElementById(button.dataset.of);
    await Plotly.downloadImage(onPaper(plot), saved(plot, button.dataset.save));
  } else if (button?.dataset.copy) {
    const said = document.getElementById("said");
    try {
      await copied(AS[button.dataset.copy](document.getElementById(button.dataset.of)));
      button.classList.add("done");
      said.textContent = "copied";
    } catch {
      said.textContent = "could not be copied";
    }
    button.focus();
    setTimeout(() => { button.classList.remove("done"); said.textContent = ""; }, 1600);
  }
});
