// SPDX-License-Identifier: MIT
// ---- plots ----

// What is not known (null: no traffic) is a gap.
function spans(values) {
  const found = [];
  values.forEach((v, i) => {
    if (v == null) return;
    if (i && values[i - 1] != null) found[found.length - 1].push(i);
    else found.push([i]);
  });
  return found;
}
function spark(values, cls) {
  const box = svg("svg", { viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" });
  const top = Math.max(...values, 1e-9), n = Math.max(values.length - 1, 1);
  const at = i => `${(100 - (n - i) * 100 / (KEPT - 1)).toFixed(1)},${(19 - 17 * values[i] / top).toFixed(1)}`;
  for (const span of spans(values))
    box.append(svg("polyline", { points: (span.length > 1 ? span : [span[0], span[0]]).map(at).join(" "), fill: "none", class: cls,
      "stroke-width": 1.3, "stroke-linecap": "round", "vector-effect": "non-scaling-stroke" }));
  return box;
}

const W = 620, H = 210, L = 62, R = 12, T = 18, B = 26;
function chart(label) {
  return svg("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img", "aria-label": label });
}
function nice(max) {
  const step = 10 ** Math.floor(Math.log10(max || 1));
  return [1, 2, 2.5, 5, 10].map(k => k * step).find(k => k >= max) || max;
}
function axes(box, x, y, format) {
  for (const v of y.ticks) {
    box.append(svg("line", { x1: L, x2: W - R, y1: y(v), y2: y(v), class: "grid" }));
    box.append(svg("text", { x: L - 6, y: y(v) + 4, "text-anchor": "end" }, format(v)));
  }
  for (const [v, text] of x.ticks)
    box.append(svg("text", { x: x(v), y: H - 8, "text-anchor": "middle" }, text));
  box.append(svg("line", { x1: L, x2: W - R, y1: H - B, y2: H - B, class: "axis" }));
}
function linear(from, to, a, b) {
  return v => a + (v - from) / ((to - from) || 1) * (b - a);
}
function scaleY(max) {
  const top = nice(max), y = linear(0, top, H - B, T);
  y.ticks = [0, top / 4, top / 2, top * 3 / 4, top];
  return y;
}
const path = (points, x, y) => points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)},${y(b).toFixed(1)}`).join("");

// Times of a day, or days where there are several.
function moment(at_s, span_s) {
  const at = new Date(at_s * 1000);
  return span_s > 2 * 86400 ? at.toLocaleDateString([], { month: "short", day: "numeric" }) : clock(at).slice(0, span_s > 3000 ? 5 : 8);
}

// A line for each stretch without a gap: rows that are missing, or where nothing was measured.
function broken(rows, key, step, x, y) {
  const values = [], at = [];
  for (const r of rows) {
    if (at.length && r.at_s - at[at.length - 1] > 2.5 * step) { at.push(r.at_s); values.push(null); }
    at.push(r.at_s);
    values.push(r[key]);
  }
  return spans(values).map(span => path((span.length > 1 ? span : [span[0], span[0]]).map(i => [at[i], values[i]]), x, y)).join("");
}

function lines(title, rows, kinds, format, markers, before = [], step = 1) {
  const box = chart(title);
  const first = rows[0].at_s, last = rows[rows.length - 1].at_s + step;
  const values = kinds.flatMap(k => [...rows, ...before].map(r => r[k.key] || 0));
  const x = linear(first, last, L, W - R), y = scaleY(Math.max(...values));
  x.ticks = [0.06, 0.35, 0.65, 0.94].map(f => { const at = first + f * (last - first); return [at, moment(at, last - first)]; });
  axes(box, x, y, format);
  for (const m of markers) {
    const at = Date.parse(m.at) / 1000;
    if (at < first || at > last) continue;
    const line = svg("line", { x1: x(at), x2: x(at), y1: T, y2: H - B, class: "event" });
    line.append(svg("title", {}, `${m.kind} ${m.backend || m.pool || ""}: ${m.message}`));
    box.append(line);
  }
  for (const k of kinds) {
    for (const r of before.filter(b => b[k.key] != null))       // an hour of a week ago, as a level
      box.append(svg("path", { d: path([[Math.max(first, r.at_s), r[k.key]], [Math.min(last, r.at_s + r.seconds_), r[k.key]]], x, y), class: k.cls + " week" }));
    box.append(svg("path", { d: broken(rows, k.key, step, x, y), class: k.cls }));
  }
  return el("div", {}, el("h3", {}, title), box);
}

function legend(...items) {
  return el("p", { class: "legend" }, ...items.map(([color, text]) =>
    el("span", {}, el("i", { style: `background:var(--${color})` }), text)));
}
