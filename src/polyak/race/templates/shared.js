// What both pages need: their data, colours of the theme, and the key that hides a curve.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const hidden = new Set(); // names of hidden rules

// Colours come from the style sheet, so that light and dark are decided in one place.
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function look(rule) {
  const [tint, dash, symbol] = data.looks[rule];
  return { tint, dash, symbol };
}

// Axes, fonts and margins of every plot.
function layoutOf(more) {
  const axis = { gridcolor: colour("--line"), zeroline: false, linecolor: colour("--line"), fixedrange: true };
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
    font: { family: "system-ui, sans-serif", size: 12.5, color: colour("--soft") },
    margin: { l: 46, r: 12, t: 30, b: 42 }, hoverlabel: { align: "left" }, ...more,
    xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
  };
}

const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false };

// Make an element with text; text is never markup.
function make(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const DASHES = { solid: "", dash: "7 4", dot: "2 3", dashdot: "7 3 2 3" };

// A button with the curve's own line; pressing it hides or shows the curve.
function keyFor(rule, changed) {
  const key = make("button", "", { type: "button", class: "key", "aria-pressed": !hidden.has(rule) });
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const style = { x1: 0, x2: 30, y1: 8, y2: 8, "stroke-width": 3.5, stroke: look(rule).tint, "stroke-dasharray": DASHES[look(rule).dash] };
  for (const [name, value] of Object.entries(style)) line.setAttribute(name, value);
  svg.setAttribute("viewBox", "0 0 30 16");
  svg.setAttribute("aria-hidden", "true");
  svg.append(line);
  key.append(svg, document.createTextNode(rule));
  key.addEventListener("click", () => {
    if (!hidden.delete(rule)) hidden.add(rule);
    key.setAttribute("aria-pressed", !hidden.has(rule));
    changed();
  });
  return key;
}

// Redraw when the reader's device turns dark or light.
function onTheme(redraw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
