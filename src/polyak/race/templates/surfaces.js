// The race on surfaces: everything was computed by polyak's own rules; here it is only shown.
"use strict";

const STEPS_A_SECOND = 22;
const FLOOR = 0.005; // the page knows points to a five-thousandth of the picture: below it tells nothing
const state = { surface: data.surfaces[0], step: data.steps, rate: 0, rho: 0, best: false, playing: false };

// Points were written as whole numbers, each the difference to the one before.
function unpack(surface, packed) {
  const [left, right] = surface.x_range, [bottom, top] = surface.y_range;
  const x = [], y = [];
  let i = 0, j = 0;
  for (let k = 0; k < packed.length; k += 2) {
    i += packed[k];
    j += packed[k + 1];
    x.push(left + ((right - left) * i) / data.grid);
    y.push(bottom + ((top - bottom) * j) / data.grid);
  }
  return { x, y };
}

// The run of a rule that the sliders choose: {rate, x, y, measured}.
function chosen(rule) {
  const runs = state.surface.runs[rule];
  const rho = data.with_rho.includes(rule) ? state.rho : 0;
  const rate = state.best ? state.surface.best[rule][rho] : state.rate;
  const [packed, measured] = runs[rate][rho];
  return { rate: data.rates[rate], measured, ...unpack(state.surface, packed) };
}

let shown = {}; // rule: its chosen run

function lineOf(rule) {
  const { tint, dash } = look(rule);
  return { type: "scatter", mode: "lines", name: rule, line: { color: tint, width: 2.6, dash } };
}

function headOf(rule) {
  const { tint, symbol } = look(rule);
  return { type: "scatter", mode: "markers", marker: { color: tint, size: 12, symbol, line: { color: colour("--card"), width: 1.5 } }, hoverinfo: "skip" };
}

// Two plots on one another: the surface is drawn once, the paths at every step.
function drawPicture() {
  const s = state.surface;
  const axis = (range, n) => Array.from({ length: n }, (_, k) => range[0] + ((range[1] - range[0]) * k) / (n - 1));
  const map = {
    type: "contour", z: s.levels, x: axis(s.x_range, s.levels[0].length), y: axis(s.y_range, s.levels.length),
    showscale: false, hoverinfo: "skip", autocontour: false, contours: { start: 0, end: 1000, size: 45 },
    line: { color: colour("--ridge"), width: 1 },
    colorscale: [[0, colour("--low")], [0.45, colour("--middle")], [1, colour("--high")]],
  };
  const places = {
    type: "scatter", mode: "markers+text", x: [s.start[0], s.minimum[0]], y: [s.start[1], s.minimum[1]],
    text: ["start", "minimum"], textposition: ["top center", "middle right"], textfont: { color: colour("--ink"), size: 12.5 },
    marker: { color: colour("--ink"), size: [9, 15], symbol: ["circle-open", "star-open"], line: { width: 2, color: colour("--ink") } }, hoverinfo: "skip",
  };
  const paths = data.rules.map((rule) => ({ ...lineOf(rule), hovertemplate: `${rule}, step %{pointNumber}<br>(%{x:.3f}, %{y:.3f})<extra></extra>` }));
  const layout = (labelled) => layoutOf({
    xaxis: { range: s.x_range, showgrid: false, showticklabels: labelled, title: { text: labelled ? "x" : "" } },
    yaxis: { range: s.y_range, showgrid: false, showticklabels: labelled, title: { text: labelled ? "y" : "", standoff: 4 } },
    margin: { l: 46, r: 10, t: 10, b: 42 }, hovermode: "closest",
  });
  return Promise.all([
    Plotly.react("map", [map], layout(false), { ...CONFIG, staticPlot: true }),
    Plotly.react("picture", [...paths, places, ...data.rules.map(headOf)], layout(true), CONFIG),
  ]);
}

function drawDistance() {
  const lines = data.rules.map((rule) => ({ ...lineOf(rule), line: { ...lineOf(rule).line, width: 2 }, hovertemplate: `${rule}, step %{x}: %{y:.3g}<extra></extra>` }));
  const layout = layoutOf({
    title: { text: "distance to the minimum, by step", font: { size: 13.5 }, x: 0.02, y: 0.985, yanchor: "top" },
    xaxis: { range: [0, data.steps], title: { text: "step" } },
    yaxis: { type: "log", range: [Math.log10(FLOOR), 1], tickvals: [0.01, 0.1, 1, 10], ticktext: ["0.01", "0.1", "1", "10"] },
  });
  return Plotly.react("distance", lines, layout, CONFIG);
}

// Show all up to the chosen step; only moves points, so that it is fast enough to play.
function showStep() {
  const parts = data.rules.map((rule) => {
    const run = shown[rule], upTo = hidden.has(rule) ? 0 : Math.min(state.step + 1, run.x.length);
    return { x: run.x.slice(0, upTo), y: run.y.slice(0, upTo), distances: run.distances.slice(0, upTo) };
  });
  const heads = parts.map(({ x, y }) => ({ x: x.slice(-1), y: y.slice(-1) }));
  const lines = parts.map(({ x, y }) => ({ x, y }));
  const still = { transition: { duration: 0 }, frame: { duration: 0, redraw: false }, mode: "immediate" };
  const traces = [...lines, ...heads].map((_, k) => (k < lines.length ? k : k + 1)); // the places stand between
  byId("step").value = state.step;
  byId("step-value").textContent = state.step;
  return Promise.all([
    Plotly.animate("picture", { data: [...lines, ...heads], traces }, still),
    Plotly.animate("distance", { data: parts.map(({ distances }) => ({ x: distances.map((_, k) => k), y: distances })), traces: parts.map((_, k) => k) }, still),
  ]);
}

const short = (number) => (number === 0 ? "0" : number < 0.001 ? number.toExponential(0) : String(Number(number.toPrecision(2))));

function fillTable() {
  byId("leave-head").textContent = state.surface.leave;
  byId("leave-head").hidden = !state.surface.leave;
  byId("results").replaceChildren(...data.rules.map((rule) => {
    const { rate, measured: [leave, overshoot, distance, left] } = shown[rule];
    const row = make("tr");
    const name = make("th", "", { scope: "row" });
    name.append(keyFor(rule, showStep));
    const held = make("td", leave === null ? "never" : leave);
    held.hidden = !state.surface.leave;
    const end = left === null ? make("td", short(distance)) : make("td", `left the picture at step ${left}`, { class: "lost" });
    row.append(name, make("td", short(rate)), held, make("td", overshoot < 0.005 ? "none" : short(overshoot)), end);
    return row;
  }));
}

// Take over the sliders: runs, table, labels, then the picture.
function choose() {
  byId("rate-value").textContent = state.best ? "each its own" : data.rates[state.rate];
  byId("rho-value").textContent = data.rhos[state.rho];
  byId("rate").value = state.rate;
  byId("rate").disabled = state.best;
  byId("best").checked = state.best;
  const [mx, my] = state.surface.minimum;
  shown = Object.fromEntries(data.rules.map((rule) => {
    const run = chosen(rule);
    const distances = run.x.map((x, k) => Math.max(FLOOR, Math.hypot(x - mx, run.y[k] - my)));
    return [rule, { ...run, distances }];
  }));
  fillTable();
  return showStep();
}

async function pick(surface) {
  state.surface = surface;
  state.best = surface.rate === null;
  if (surface.rate !== null) state.rate = data.rates.indexOf(surface.rate);
  byId("about").textContent = surface.about;
  for (const button of byId("surfaces").children) {
    const on = button.dataset.name === surface.name;
    button.setAttribute("aria-checked", on);
    button.tabIndex = on ? 0 : -1;
  }
  await Promise.all([drawPicture(), drawDistance()]);
  return choose();
}

function play(on) {
  state.playing = on;
  byId("play").setAttribute("aria-pressed", on);
  byId("play").setAttribute("aria-label", on ? "pause" : "play");
  if (!on) return;
  if (state.step >= data.steps) state.step = 0;
  const first = state.step;
  let began = null;
  const tick = async (now) => {
    began ??= now;
    if (!state.playing) return;
    state.step = Math.min(data.steps, first + Math.floor(((now - began) / 1000) * STEPS_A_SECOND));
    await showStep();
    if (state.step >= data.steps) play(false);
    else requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

function connect() {
  const names = data.surfaces.map((surface) => {
    const button = make("button", surface.title, { type: "button", role: "radio", "data-name": surface.name });
    button.addEventListener("click", () => pick(surface));
    return button;
  });
  byId("surfaces").append(...names);
  byId("surfaces").addEventListener("keydown", (event) => {
    const turn = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!turn) return;
    event.preventDefault();
    const next = names[(names.indexOf(document.activeElement) + turn + names.length) % names.length];
    next.focus();
    next.click();
  });
  byId("rate").max = data.rates.length - 1;
  byId("rho").max = data.rhos.length - 1;
  state.rho = data.rhos.indexOf(0.9);
  byId("rho").value = state.rho;
  byId("rate").addEventListener("input", (event) => { state.rate = Number(event.target.value); choose(); });
  byId("rho").addEventListener("input", (event) => { state.rho = Number(event.target.value); choose(); });
  byId("best").addEventListener("change", (event) => { state.best = event.target.checked; choose(); });
  byId("step").addEventListener("input", (event) => { play(false); state.step = Number(event.target.value); showStep(); });
  byId("play").addEventListener("click", () => play(!state.playing));
  onTheme(() => Promise.all([drawPicture(), drawDistance()]).then(showStep));
}

connect();
pick(data.surfaces[0]);
