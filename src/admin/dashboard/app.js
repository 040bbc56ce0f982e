"use strict";
// SPDX-License-Identifier: MIT
// Reads GET /v1/stream (a snapshot each second) and, for what is chosen, the
// history, histogram, scaling and slow endpoints.  No library, no other host.

const $ = id => document.getElementById(id);
const KEPT = 180;                 // seconds that sparklines show
const ROWS = 60;                  // rows of a pool until "show all"
const PHASES = ["total", "wait", "transfer", "connect", "queue", "client", "self"];
const WINDOWS = ["10s", "1m", "5m", "start"];
const TABS = ["scaling", "latency", "history", "slow"];
const series = new Map();         // "pool/backend" or "#total" -> {rate: [], p99: [], ...}
const all = new Set();            // pools that show all rows
let snap = null, chosen = null, tab = "scaling", phase = "total", window_ = "1m", token = "";
let sort = { key: "state", down: false }, lastEvent = 0, eventsSince = 0, previous = null;

// ---- text ----

// What turns the direction of text, ends lines or is a control, as clients may send it in paths.
const HOSTILE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f]/g;
const parse = text => JSON.parse(text, (key, value) =>
  typeof value === "string" ? value.replace(HOSTILE, "\ufffd") : value);

// ---- elements ----

function el(name, props, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(props || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter(c => c != null));
  return node;
}

function svg(name, props, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(props || {})) node.setAttribute(key, value);
  if (text != null) node.textContent = text;
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// ---- numbers ----

const digits = x => x < 9.995 ? x.toFixed(2) : x < 99.95 ? x.toFixed(1) : x.toFixed(0);
function duration(us) {
  if (us == null) return "–";
  if (us < 1000) return Math.round(us) + " µs";
  if (us < 999500) return digits(us / 1e3) + " ms";
  return us < 6e7 ? digits(us / 1e6) + " s" : age(us / 1e6);
}
function count(x) {
  let unit = 0;
  for (; x >= 999.5 && unit < 3; unit++) x /= 1000;
  return (unit || x % 1 ? x < 0.005 ? "0" : digits(x) : String(x)) + ["", "k", "M", "G"][unit];
}
function age(s) {
  s = Math.floor(s);
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s / 60) % 60 + " min";
  return Math.floor(s / 86400) + " d " + Math.floor(s / 3600) % 24 + " h";
}
const clock = at => new Date(at).toLocaleTimeString([], { hour12: false });
const sum = (rows, f) => rows.reduce((total, row) => total + f(row), 0);

// ---- plots ----

function spark(values, cls) {
  const box = svg("svg", { viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" });
  const top = Math.max(...values, 1e-9), n = Math.max(values.length - 1, 1);
  const at = values.map((v, i) => `${(100 - (n - i) * 100 / (KEPT - 1)).toFixed(1)},${(19 - 17 * v / top).toFixed(1)}`);
  if (values.length > 1)
    box.append(svg("polyline", { points: at.join(" "), fill: "none", class: cls, "stroke-width": 1.3,
      "vector-effect": "non-scaling-stroke" }));
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

function lines(title, rows, kinds, format, markers) {
  const box = chart(title);
  const first = rows[0].at_s, last = rows[rows.length - 1].at_s;
  const x = linear(first, last, L, W - R), y = scaleY(Math.max(...kinds.flatMap(k => rows.map(r => r[k.key] || 0))));
  x.ticks = [0.06, 0.35, 0.65, 0.94].map(f => { const at = first + f * (last - first); return [at, clock(at * 1000)]; });
  axes(box, x, y, format);
  for (const m of markers) {
    const at = Date.parse(m.at) / 1000;
    if (at < first || at > last) continue;
    const line = svg("line", { x1: x(at), x2: x(at), y1: T, y2: H - B, class: "event" });
    line.append(svg("title", {}, `${m.kind} ${m.backend || m.pool || ""}: ${m.message}`));
    box.append(line);
  }
  for (const k of kinds)
    box.append(svg("path", { d: path(rows.map(r => [r.at_s, r[k.key] || 0]), x, y), class: k.cls }));
  return el("div", {}, el("h3", {}, title), box);
}

function legend(...items) {
  return el("p", { class: "legend" }, ...items.map(([color, text]) =>
    el("span", {}, el("i", { style: `background:var(--${color})` }), text)));
}

// ---- the head of the page: verdicts, problems, totals ----

const CHIP = { healthy: "good", steady: "good", not_enough_data: "", performance: "bad", scalability: "warn",
  scalability_shared: "bad", skewed: "warn", odd: "warn", foreign: "warn", balancer: "bad" };
const VERDICT = { performance: "slow on its own", scalability: "slow under load",
  scalability_shared: "slow under load, shared bottleneck", skewed: "uneven", balancer: "weir itself",
  odd: "one backend differs", foreign: "loaded by others", not_enough_data: "learning" };
const verdictText = v => VERDICT[v] || v;

function putVerdicts() {
  const rows = snap.problems.filter(p => !snap.pools.some(x => x.problem && p === `pool ${x.name}: ${x.sentence}`))
    .map(p => ["bad", "problem", p]);
  const quiet = [];
  for (const p of snap.pools) {
    if (p.problem) rows.push(["warn", `${p.name}: ${verdictText(p.verdict)}`, p.sentence]);
    else quiet.push([p.verdict === "healthy" ? "good" : "none", `${p.name}: ${verdictText(p.verdict)}`, p.sentence]);
  }
  if (!snap.problems.length) rows.push(["good", "no problems", `${snap.pools.length} pools, ${sum(snap.pools, p => p.backends.length)} backends`]);
  rows.push(...quiet.slice(0, 6));
  const text = JSON.stringify(rows);
  if ($("verdicts").dataset.text === text) return;
  $("verdicts").dataset.text = text;
  $("verdicts").replaceChildren(...rows.map(([cls, head, sentence]) =>
    el("p", { class: `verdict ${cls}` }, el("b", {}, head), el("span", {}, sentence || ""))));
}

function remember(key, values) {
  if (!series.has(key)) series.set(key, {});
  const kept = series.get(key);
  for (const [name, value] of Object.entries(values)) {
    const list = kept[name] || (kept[name] = []);
    list.push(value);
    if (list.length > KEPT) list.shift();
  }
  return kept;
}

function putTiles() {
  const rows = snap.pools.flatMap(p => p.backends);
  const seconds = previous ? (Date.parse(snap.at) - Date.parse(previous.at)) / 1000 : 0;
  const rate = key => seconds > 0 ? Math.max(0, (snap.totals[key] - previous.totals[key]) / seconds) : 0;
  const kept = remember("#total", { rate: rate("requests"), errors: rate("errors"), flight: snap.totals.in_flight,
    clients: snap.totals.connections, p99: Math.max(0, ...rows.map(b => b.p99_us || 0)),
    lag: Math.max(0, ...snap.workers.map(w => w.loop_lag_us)) });
  const tiles = [["requests", count(rate("requests")) + "/s", "rate"], ["errors", count(rate("errors")) + "/s", "errors"],
    ["in flight", count(snap.totals.in_flight), "flight"], ["clients", count(snap.totals.connections), "clients"],
    ["worst p99, 10 s", duration(kept.p99[kept.p99.length - 1]), "p99"], ["loop lag", duration(kept.lag[kept.lag.length - 1]), "lag"]];
  $("tiles").replaceChildren(...tiles.map(([name, value, key]) =>
    el("div", { class: "tile" }, el("h3", {}, name),
      el("div", { class: "value" + (key === "errors" && kept.errors[kept.errors.length - 1] > 0 ? " bad" : "") }, value),
      spark(kept[key], key === "p99" ? "l99" : "lrate"))));
}

// Sparklines begin with what the flight recorder has, not with the moment the page was opened.
async function recall() {
  const rows = snap.pools.flatMap(p => p.backends.map(b => [p.name, b.name])).slice(0, 50);
  for (const [pool, backend] of rows) {
    const h = await get(`/v1/history?pool=${encodeURIComponent(pool)}&backend=${encodeURIComponent(backend)}&seconds=${KEPT}`);
    const kept = series.get(`${pool}/${backend}`);
    const seen = kept ? kept.rate.length : 0, past = h.rows.slice(0, Math.max(0, h.rows.length - seen));
    if (!kept) continue;
    kept.rate = past.map(r => r.rate).concat(kept.rate).slice(-KEPT);
    kept.p99 = past.map(r => r.p99_us).concat(kept.p99).slice(-KEPT);
  }
}

// ---- pools and backends ----

const STATE_ORDER = ["down", "ejected", "unknown", "draining", "maintenance", "up"];
const COLUMNS = [
  ["name", "backend", "l"], ["state", "state", "l"], ["rate", "rate", ""], ["history", "", "wide"],
  ["in_flight", "in flight", ""], ["errors", "errors", "wide"], ["p50_us", "p50", "wide"], ["p90_us", "p90", "wide"],
  ["p99_us", "p99", ""], ["p99s", "", "wide"], ["weight", "weight", "wide"], ["reason", "verdict or why", "l wide"]];

function order(a, b) {
  const value = r => sort.key === "state" ? STATE_ORDER.indexOf(r.state) : r[sort.key] == null ? -1 : r[sort.key];
  const x = value(a), y = value(b);
  const by = x < y ? -1 : x > y ? 1 : a.name.localeCompare(b.name, undefined, { numeric: true });
  return sort.down ? -by : by;
}

function cell(row, key, kept) {
  if (key === "history") return spark(kept.rate, "lrate");
  if (key === "p99s") return spark(kept.p99, "l99");
  return null;
}

function cellText(row, key) {
  if (key === "rate") return count(row.rate) + "/s";
  if (key.endsWith("_us")) return duration(row[key]);
  if (key === "reason") return row.state === "up" ? verdictText(row.verdict) : `${age(row.since_s)}${row.reason ? ": " + row.reason : ""}`;
  return count(row[key]);
}

function backendRow(pool, b) {
  const key = `${pool.name}/${b.name}`, kept = series.get(key);
  const mine = chosen && chosen.pool === pool.name && chosen.backend === b.name;
  return el("tr", { class: "row" + (mine ? " chosen" : ""), tabindex: 0, "data-key": key, "aria-selected": mine ? "true" : "false",
    onclick: () => choose(pool.name, b.name) }, ...COLUMNS.map(([name, , cls]) => {
    if (name === "name")
      return el("td", { class: cls }, b.name, b.address !== b.name ? el("span", { class: "sub" }, " " + b.address) : "");
    if (name === "state") return el("td", { class: cls }, el("span", { class: "state " + b.state }, b.state));
    const drawn = cell(b, name, kept);
    return el("td", { class: cls + (name === "reason" ? " why" : "") + (name === "errors" && b.errors ? " num-bad" : "") },
      drawn || cellText(b, name));
  }));
}

function heading(key, text, cls) {
  if (!text) return el("th", { class: cls, scope: "col" });
  const mine = sort.key === key;
  return el("th", { class: cls, scope: "col", "aria-sort": mine ? (sort.down ? "descending" : "ascending") : "none" },
    el("button", { type: "button", "data-sort": key, onclick: () => {
      sort = { key, down: mine ? !sort.down : !["name", "state", "reason"].includes(key) };
      putPools();
    } }, text));
}

function poolCard(pool) {
  const wanted = $("filter").value.toLowerCase();
  const rows = pool.backends.filter(b => !wanted || `${pool.name}/${b.name} ${b.address} ${b.state}`.toLowerCase().includes(wanted));
  if (wanted && !rows.length) return null;
  rows.sort(order);
  const shown = all.has(pool.name) ? rows : rows.slice(0, ROWS);
  const up = pool.backends.filter(b => b.state === "up" || b.state === "unknown").length;
  const fact = (value, name) => [el("b", {}, value), ` ${name}\u2002`];
  return el("section", { class: "pool", "aria-label": "pool " + pool.name },
    el("div", { class: "title", onclick: () => choose(pool.name, null) },
      el("h2", {}, el("button", { type: "button", style: "all:unset;cursor:pointer", "data-key": pool.name }, pool.name)),
      el("span", { class: "chip " + (CHIP[pool.verdict] || ""), title: pool.sentence }, verdictText(pool.verdict)),
      el("span", { class: "chip " + (up === pool.backends.length ? "good" : up ? "warn" : "bad") }, `${up} of ${pool.backends.length} up`),
      el("span", { class: "facts" }, ...fact(count(sum(pool.backends, b => b.rate)) + "/s", ""),
        ...fact(count(sum(pool.backends, b => b.in_flight)), "in flight"), ...fact(count(pool.queued), "queued"),
        ...(pool.n ? [...fact(duration(pool.p50_us), "p50"), ...fact(duration(pool.p99_us), "p99")] : []), pool.strategy)),
    el("div", { class: "scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, ...COLUMNS.map(([k, t, c]) => heading(k, t, c)))),
      el("tbody", {}, ...shown.map(b => backendRow(pool, b))))),
    rows.length > shown.length ? el("p", { class: "more" }, `${rows.length - shown.length} more `,
      el("button", { type: "button", onclick: () => { all.add(pool.name); putPools(); } }, "show all")) : null);
}

function putPools() {
  const focus = document.activeElement, key = focus && focus.dataset && (focus.dataset.key || focus.dataset.sort);
  const field = focus && focus.dataset && focus.dataset.key ? "key" : "sort";
  const cards = snap.pools.map(poolCard).filter(Boolean);
  $("pools").replaceChildren(...(cards.length ? cards : [el("p", { class: "empty" }, "Nothing matches the filter.")]));
  if (key && !document.body.contains(focus)) {
    const again = $("pools").querySelector(`[data-${field}="${CSS.escape(key)}"]`);
    if (again) again.focus({ preventScroll: true });
  }
}

// ---- details ----

async function get(url) {
  const answer = await fetch(url);
  const body = parse(await answer.text());
  if (!answer.ok) throw new Error(body.error || answer.statusText);
  return body;
}

function choose(pool, backend) {
  chosen = { pool, backend };
  if (backend && tab === "scaling") tab = "latency";
  if (!backend && tab === "latency") tab = "scaling";
  putPools();
  putDetail();
}
function close() {
  chosen = null;
  $("detail").hidden = true;
  $("columns").classList.remove("open");
  putPools();
}

function select(name, words, value, set) {
  const box = el("select", { "aria-label": name, onchange: e => { set(e.target.value); putDetail(); } },
    ...words.map(w => el("option", { value: w, selected: w === value }, w)));
  return el("label", {}, name + " ", box);
}

function frame() {
  const title = chosen.pool + (chosen.backend ? "/" + chosen.backend : "");
  return [el("div", { class: "head" }, el("h2", {}, title), changes(), el("button", { type: "button", onclick: close }, "Close")),
    el("div", { class: "tabs", role: "tablist" }, ...TABS.map(name => el("button", { type: "button", role: "tab",
      "aria-selected": name === tab ? "true" : "false", onclick: () => { tab = name; putDetail(); } }, name)))];
}

let turn = 0;
async function putDetail() {
  const mine = ++turn, box = $("detail");
  if (!chosen) return;
  box.hidden = false;
  $("columns").classList.add("open");
  let parts;
  try {
    parts = await { latency, history, scaling, slow }[tab]();
  } catch (error) {
    parts = [el("p", { class: "empty" }, String(error.message || error))];
  }
  if (mine !== turn || !chosen) return;
  const focus = box.contains(document.activeElement) ? [...box.querySelectorAll("button,select")].indexOf(document.activeElement) : -1;
  box.replaceChildren(...frame(), ...parts);
  if (focus >= 0) { const again = box.querySelectorAll("button,select")[focus]; if (again) again.focus(); }
}

const base = () => `/v1/pools/${encodeURIComponent(chosen.pool)}`;
const one = first => chosen.backend ? `${first}backend=${encodeURIComponent(chosen.backend)}` : "";

function quantile(buckets, n, q) {
  const rank = Math.ceil(q * n - 1e-6);
  let seen = 0;
  for (const [lower, c] of buckets)
    if ((seen += c) >= rank) return lower < 64 ? lower : lower + 2 ** Math.floor(Math.log2(lower)) / 64;
  return 0;
}

async function latency() {
  const h = await get(`${base()}/histogram?phase=${phase}&window=${window_}${one("&")}`);
  const tools = el("div", { class: "bar" }, select("phase", PHASES, phase, v => { phase = v; }),
    select("window", WINDOWS, window_, v => { window_ = v; }), `${count(h.n)} samples`);
  if (!h.n) return [tools, el("p", { class: "empty" }, "No requests in this window.")];
  const bins = new Map();                             // eighths of an octave
  for (const [lower, c] of h.buckets) {
    const bin = Math.floor(Math.log2(Math.max(lower, 1)) * 8);
    bins.set(bin, (bins.get(bin) || 0) + c);
  }
  const from = Math.min(...bins.keys()) - 2, to = Math.max(...bins.keys()) + 3;
  const x = linear(from, to, L, W - R), y = scaleY(Math.max(...bins.values())), box = chart("latency histogram");
  const step = Math.max(8, Math.ceil((to - from) / 6 / 8) * 8);
  x.ticks = [];
  for (let b = Math.ceil(from / 8) * 8; b < to; b += step) x.ticks.push([b, duration(2 ** (b / 8))]);
  axes(box, x, y, count);
  for (const [bin, c] of bins) {
    const bar = svg("rect", { x: x(bin), width: Math.max(1, x(bin + 1) - x(bin) - .6), y: y(c), height: Math.max(.5, H - B - y(c)), class: "bars" });
    bar.append(svg("title", {}, `${duration(2 ** (bin / 8))}: ${c}`));
    box.append(bar);
  }
  const marks = [["p50", .5], ["p90", .9], ["p99", .99], ["p99.9", .999]].map(([name, q]) => [name, quantile(h.buckets, h.n, q)]);
  let end = -99, level = 0;
  for (const [name, us] of marks) {
    const at = x(Math.log2(Math.max(us, 1)) * 8);
    level = at - end < 40 ? level + 1 : 0;
    end = at;
    box.append(svg("line", { x1: at, x2: at, y1: T, y2: H - B, class: "mark" }));
    const right = at > W - R - 36;                    // no room behind the line
    box.append(svg("text", { x: at + (right ? -3 : 3), y: T - 4 + level * 12, class: "marktext", "text-anchor": right ? "end" : "start" }, name));
  }
  return [tools, box, el("dl", {}, ...marks.flatMap(([name, us]) => [el("dt", {}, name), el("dd", {}, duration(us))]))];
}

async function history() {
  const h = await get(`/v1/history?pool=${encodeURIComponent(chosen.pool)}&seconds=900${one("&")}`);
  if (h.rows.length < 2) return [el("p", { class: "empty" }, "The flight recorder has just begun.")];
  return [lines("latency of each second", h.rows, [{ key: "p50_us", cls: "l50" }, { key: "p99_us", cls: "l99" }], duration, h.markers),
    legend(["p50", "p50"], ["p99", "p99"], ["warn", "reload or change"]),
    lines("requests per second", h.rows, [{ key: "rate", cls: "lrate" }, { key: "errors", cls: "l99" }], count, h.markers),
    legend(["accent", "rate"], ["p99", "errors"]),
    lines("in flight", h.rows, [{ key: "in_flight", cls: "l50" }, { key: "queued", cls: "l99" }], count, h.markers),
    legend(["p50", "in flight"], ["p99", "queued"])];
}

function curve(s) {
  const well = s.curve.filter(c => c.completions >= 30), shown = well.length ? well : s.curve;   // the others are noise
  const points = shown.map(c => [c.in_flight, c.rate]), fit = (s.model.fitted || []).map(c => [c.in_flight, c.rate]);
  const end = s.model.at_n_max, box = chart("throughput against requests in flight");
  const right = Math.max(2, ...points.map(p => p[0]), ...fit.map(p => p[0])) + .5;
  const x = linear(0, right, L, W - R);
  const y = scaleY(Math.max(...points.map(p => p[1]), ...fit.map(p => p[1]), end && end.high || 0));
  x.ticks = [0, .25, .5, .75, 1].map(f => [Math.round(f * right), String(Math.round(f * right))]);
  axes(box, x, y, count);
  if (fit.length && end && end.mid) {
    const lowest = end.low / end.mid, highest = end.high / end.mid, n = fit[fit.length - 1][0];
    const edge = k => fit.map(([a, b]) => [a, b * (1 + (k - 1) * a / n)]);
    box.append(svg("path", { class: "band", d: path(edge(highest), x, y) + path(edge(lowest).reverse(), x, y).replace("M", "L") + "Z" }));
  }
  if (fit.length) box.append(svg("path", { d: path(fit, x, y), class: "l50" }));
  const most = Math.max(1, ...shown.map(c => c.completions));
  for (const c of shown) {
    const dot = svg("circle", { cx: x(c.in_flight), cy: y(c.rate), r: (1.8 + 3.2 * Math.sqrt(c.completions / most)).toFixed(1), class: "dot" });
    dot.append(svg("title", {}, `${c.in_flight} in flight: ${count(c.rate)}/s, ${c.completions} completions`));
    box.append(dot);
  }
  return box;
}

async function scaling() {
  const s = await get(`${base()}/scaling`), e = s.evidence || {}, m = s.model || {};
  const parts = [el("p", { class: "verdict " + (CHIP[s.verdict] || "none") }, el("b", {}, verdictText(s.verdict)),
    el("span", {}, s.sentence || s.meaning || ""))];
  if (s.curve && s.curve.length)
    parts.push(el("h3", {}, "requests per second of a typical backend against requests in flight"), curve(s),
      legend(["p99", "measured"], ...(m.fitted && m.fitted.length ? [["p50", "fitted"], ["p90", "interval of the fit"]] : [])));
  const facts = [["model", m.refusal ? "none: " + m.refusal : m.kind || "none"]];
  if (e.alone && e.alone.p50_us != null) facts.push(["alone", `p50 ${duration(e.alone.p50_us)}, p95 ${duration(e.alone.p95_us)}`]);
  if (e.now && e.now.p50_us != null) facts.push(["now", `p50 ${duration(e.now.p50_us)}, p95 ${duration(e.now.p95_us)}, p99 ${duration(e.now.p99_us)}`]);
  if (e.growth != null) facts.push(["growth", `${digits(e.growth)} x`]);
  if (m.capacity != null) facts.push(["capacity", `${m.capacity_at_least ? "at least " : ""}${count(m.capacity)}/s a backend`]);
  parts.push(el("dl", {}, ...facts.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)])));
  const range = r => r && r.low != null ? `${duration(r.low)} – ${duration(r.high)}` : "–";
  if (s.forecast && s.forecast.length)
    parts.push(el("h3", {}, "forecast"), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...["backends", "p50", "p99", "utilisation"].map((t, i) => el("th", { class: i ? "" : "l", scope: "col" }, t)))),
      el("tbody", {}, ...s.forecast.map(f => el("tr", { title: f.sentence || "" }, el("td", { class: "l" }, `${f.backends} (${f.change > 0 ? "+" : ""}${f.change})`),
        ...(f.refusal ? [el("td", { class: "l why", colspan: 3 }, f.refusal)] : f.saturated ? [el("td", { class: "l why", colspan: 3 }, "saturated: the queue grows without end")] :
          [el("td", {}, range(f.p50_us)), el("td", {}, range(f.p99_us)), el("td", {}, f.utilisation == null ? "–" : Math.round(100 * f.utilisation) + " %")])))))));
  return parts;
}

async function slow() {
  const s = await get(`${base()}/slow?limit=30${one("&")}`);
  if (!s.slow.length) return [el("p", { class: "empty" }, "No slow exchange in the last five minutes.")];
  return [el("h3", {}, "slowest exchanges of the last five minutes"), el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, ...["request", "total", "wait", "queue", "connect", "transfer", "status"].map((t, i) => el("th", { class: i ? "" : "l", scope: "col" }, t)))),
    el("tbody", {}, ...s.slow.map(r => el("tr", { title: `${r.request_id || ""} ${r.outcome}, ${r.in_flight} others in flight` },
      el("td", { class: "l why" }, `${r.method || "?"} ${r.path || ""}`, el("br"), el("span", { class: "sub" }, `${clock(r.at)} ${r.backend}`)),
      ...["total", "wait", "queue", "connect", "transfer"].map(p => el("td", {}, duration(r.phases[p + "_us"]))),
      el("td", {}, String(r.status)))))))];
}

// ---- changes: only with the token ----

function changes() {
  if (!token || !chosen.backend) return el("span", {});
  const act = (text, body, question) => el("button", { type: "button", onclick: () => confirm(question) && change(body) }, text);
  const name = `${chosen.pool}/${chosen.backend}`;
  return el("span", { class: "bar" }, act("Drain", { state: "drain" }, `Send ${name} no new requests?`),
    act("Maintenance", { state: "maintenance" }, `Take ${name} out of service?`), act("Enable", { state: "up" }, `Let ${name} take requests?`));
}

async function change(body) {
  const answer = await fetch(`${base()}/backends/${encodeURIComponent(chosen.backend)}`, { method: "POST",
    headers: { "Content-Type": "application/json", Authorization: "Bearer " + token }, body: JSON.stringify(body) });
  if (!answer.ok) alert(parse(await answer.text()).error);
}

// ---- events ----

async function putEvents() {
  if (!snap || snap.last_event === lastEvent) return;
  const wanted = snap.last_event;
  const answer = await get(`/v1/events?since=${wanted < lastEvent ? 0 : eventsSince}`);
  lastEvent = eventsSince = wanted;
  for (const e of answer.events)
    $("events").prepend(el("li", {}, el("time", { datetime: e.at, title: e.at }, clock(e.at)), el("span", { class: "kind" }, e.kind.replace(/_/g, " ")),
      el("span", {}, [e.pool, e.backend].filter(Boolean).join("/")), el("span", { class: "text" }, e.message)));
  while ($("events").children.length > 200) $("events").lastChild.remove();
}

// ---- the stream ----

function onTick(message) {
  previous = snap;
  snap = parse(message.data);
  for (const p of snap.pools)
    for (const b of p.backends) remember(`${p.name}/${b.name}`, { rate: b.rate, p99: b.p99_us || 0 });
  setText($("about"), `${snap.version}, up ${age(snap.uptime_s)}, generation ${snap.generation}${snap.draining ? ", draining" : ""}`);
  document.title = (snap.problems.length ? `(${snap.problems.length}) ` : "") + "weir";
  putVerdicts();
  putTiles();
  putPools();
  putEvents().catch(() => {});
  if (!previous) recall().catch(() => {});
  if (chosen && Math.floor(snap.uptime_s) % (tab === "latency" ? 2 : 5) === 0) putDetail();
}

function state(text, cls) {
  $("live").className = cls;
  setText($("live"), text);
}

function listen() {
  const source = new EventSource("/v1/stream");
  source.addEventListener("tick", message => { state("live", "on"); onTick(message); document.body.dataset.ticks = Number(document.body.dataset.ticks || 0) + 1; });
  source.onerror = () => {
    state("no connection to weir, trying again", "off");
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
}

// ---- keys and buttons ----

function toggle(id, button) {
  $(id).hidden = !$(id).hidden;
  button.setAttribute("aria-expanded", String(!$(id).hidden));
}
function setTheme(name) {
  if (name) document.documentElement.dataset.theme = name;
}
function nextTheme() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(dark ? "light" : "dark");
  try { localStorage.setItem("weir-theme", dark ? "light" : "dark"); } catch (_) { /* no storage: not kept */ }
}
function move(by) {
  const rows = [...document.querySelectorAll("tr.row")], at = rows.indexOf(document.activeElement);
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
  if (next) next.focus();
}
document.addEventListener("keydown", e => {
  const typing = ["INPUT", "SELECT"].includes(e.target.tagName);
  if (e.key === "Escape") { if (typing) e.target.blur(); else close(); return; }
  if (typing || e.ctrlKey || e.altKey || e.metaKey) return;
  const act = { "/": () => $("filter").focus(), ArrowDown: () => move(1), ArrowUp: () => move(-1), t: nextTheme, "?": () => toggle("keys", $("help")),
    Enter: () => document.activeElement.classList.contains("row") && document.activeElement.click() }[e.key];
  if (!act || (e.key === "Enter" && e.target.tagName === "BUTTON")) return;
  if (e.key !== "Enter") e.preventDefault();
  act();
});
$("filter").addEventListener("input", () => snap && putPools());
$("theme").addEventListener("click", nextTheme);
$("help").addEventListener("click", e => toggle("keys", e.currentTarget));
$("unlock").addEventListener("click", e => toggle("token-form", e.currentTarget));
$("token-form").addEventListener("submit", e => {
  e.preventDefault();
  token = $("token").value.trim();
  setText($("unlock"), token ? "Changes allowed" : "Read-only");
  toggle("token-form", $("unlock"));
  putDetail();
});
try { setTheme(localStorage.getItem("weir-theme")); } catch (_) { /* no storage: the system's theme */ }
listen();
