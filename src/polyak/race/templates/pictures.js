// The race on images: curves with bands over seeds, and the sweep that chose the rates.
"use strict";

const visible = () => data.results.filter(({ optimizer }) => !hidden.has(optimizer));

// A colour with some of it seen through.
function faint(tint) {
  const [r, g, b] = [1, 3, 5].map((k) => parseInt(tint.slice(k, k + 2), 16));
  return `rgba(${r},${g},${b},0.16)`;
}

// A mean line and its band, from rows of (step, mean, lowest, highest).
function curves(part, unit) {
  return visible().flatMap((result) => {
    const { tint, dash } = look(result.optimizer), rows = result[part];
    const column = (k) => rows.map((row) => row[k]);
    const edge = { type: "scatter", mode: "lines", line: { width: 0 }, hoverinfo: "skip", x: column(0) };
    return [
      { ...edge, y: column(2) },
      { ...edge, y: column(3), fill: "tonexty", fillcolor: faint(tint) },
      {
        type: "scatter", mode: "lines", x: column(0), y: column(1), name: result.optimizer,
        line: { color: tint, width: 2.4, dash }, hovertemplate: `${result.optimizer}, step %{x}: %{y:${unit}}<extra></extra>`,
      },
    ];
  });
}

function titled(text, more) {
  return layoutOf({ title: { text, font: { size: 13.5 }, x: 0.02, y: 0.985, yanchor: "top" }, hovermode: "closest", ...more });
}

// One point for every try; the ring is the rate that was taken. A try that diverged has no height.
function tries() {
  const taken_by = Object.fromEntries(data.results.map((result) => [result.optimizer, result.learning_rate]));
  return data.rules.filter((rule) => !hidden.has(rule)).flatMap((optimizer) => {
    const { tint, dash, symbol } = look(optimizer);
    const rows = data.sweep.filter((row) => row.optimizer === optimizer && row.nll !== null);
    rows.sort((a, b) => a.learning_rate - b.learning_rate);
    const taken = rows.filter((row) => row.learning_rate === taken_by[optimizer]);
    return [
      {
        type: "scatter", mode: "lines+markers", x: rows.map((r) => r.learning_rate), y: rows.map((r) => r.nll),
        line: { color: tint, width: 2, dash }, marker: { color: tint, size: 8, symbol },
        hovertemplate: `${optimizer} at %{x:.3g}: %{y:.3f}<extra></extra>`,
      },
      {
        type: "scatter", mode: "markers", x: taken.map((r) => r.learning_rate), y: taken.map((r) => r.nll), hoverinfo: "skip",
        marker: { color: "rgba(0,0,0,0)", size: 17, symbol: "circle", line: { color: colour("--ink"), width: 1.6 } },
      },
    ];
  });
}

// Plain numbers along a logarithmic axis: factors of powers of ten.
function ticks(from, to, factors) {
  const powers = Array.from({ length: to - from + 1 }, (_, k) => from + k);
  const tickvals = powers.flatMap((power) => factors.map((factor) => Number(`${factor}e${power}`)));
  return { tickvals, ticktext: tickvals.map(String) };
}

function draw() {
  const steps = { title: { text: "step" }, range: [0, data.steps] };
  const low = Math.min(1, ...visible().flatMap(({ validation }) => validation.map((row) => row[2])));
  const raced = data.results.some(({ loss }) => loss.length);
  for (const name of ["loss", "validation"]) byId(name).parentElement.hidden = !raced;
  return Promise.all([
    Plotly.react("loss", curves("loss", ".3f"), titled("training loss", { xaxis: steps, yaxis: { rangemode: "normal" } }), CONFIG),
    Plotly.react("validation", curves("validation", ".1%"), titled("validation accuracy", { xaxis: steps, yaxis: { tickformat: ".0%", range: [Math.max(0, low - 0.03), 1.005] } }), CONFIG),
    Plotly.react("sweep", tries(), titled("sweep: validation NLL, by learning rate", {
      xaxis: { type: "log", title: { text: "learning rate" }, ...ticks(-7, 3, [1]) },
      yaxis: { type: "log", title: { text: "nats", standoff: 4 }, ...ticks(-4, 3, [1, 2, 5]) },
    }), CONFIG),
  ]);
}

for (const cell of document.querySelectorAll("[data-rule]")) {
  cell.replaceChildren(keyFor(cell.dataset.rule, draw));
}
onTheme(draw);
draw();
