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
const RANGES = ["15 min", "1 h", "1 d", "30 d"];
const series = new Map();         // "pool/backend", "pool" or "#total" -> {rate: [], p99: [], ...}
const all = new Set();            // pools that show all rows
let snap = null, chosen = null, tab = "scaling", phase = "total", window_ = "1m", range_ = "15 min", token = "";
let wish = null;                  // of the forecast: {pool, backends, load}; load as a share of now
let sort = { key: "state", down: false }, lastEvent = 0, eventsSince = 0, previous = null;
let fleet = new URLSearchParams(location.search).get("nodes") === "shared";   // all nodes as one
let asking = false, anew = false, own = "", viewed = "";   // nodes are being asked; who this is; whose details are shown ("": this one's)

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

// ---- the head of the page: verdicts, problems, totals ----

const CHIP = { healthy: "good", steady: "good", not_enough_data: "", performance: "bad", scalability: "warn",
  scalability_shared: "bad", skewed: "warn", odd: "warn", balancer: "bad" };
const WORDS = { performance: "slow on its own", scalability: "slow under load", scalability_shared: "slow under load, shared bottleneck",
  skewed: "uneven", balancer: "weir itself", not_enough_data: "learning", odd: "one backend differs", differs: "unlike at nodes" };
const verdictText = v => WORDS[v] || v.replace(/_/g, " ");

// Only what is wrong stands out; all the rest is one line.
function putVerdicts() {
  const rows = snap.problems.filter(p => !ofPool(snap, p))
    .map(p => ["bad", "problem", p]);
  const quiet = [];
  for (const p of snap.pools) {
    if (p.problem) rows.push(["warn", `${p.name}: ${verdictText(p.verdict)}`, p.sentence]);
    else quiet.push([p.name, verdictText(p.verdict), p.sentence]);
  }
  const text = JSON.stringify([rows, quiet]);
  if ($("verdicts").dataset.text === text) return;
  $("verdicts").dataset.text = text;
  $("verdicts").replaceChildren(...rows.map(([cls, head, sentence]) =>
    el("p", { class: `verdict ${cls}` }, el("b", {}, head), el("span", {}, sentence || ""))),
    el("p", { class: "quiet" }, rows.length ? "" : el("b", {}, "No problems"),
      ...quiet.map(([name, verdict, sentence]) => el("span", { title: sentence }, `${name}: ${verdict}`))));
}

// ---- all nodes as one: what they say is added up, quantiles are made of all buckets ----

const SUMS = ["in_flight", "streams", "upconns", "rate", "requests", "errors", "queued", "n"];
function addUp(rows, keys) {
  const total = { ...rows[0] };
  for (const key of keys) if (key in total) total[key] = sum(rows, r => r[key] || 0);
  return total;
}
function addBuckets(rows) {
  const counts = new Map();
  for (const row of rows) for (const [lower, c] of row.buckets || []) counts.set(lower, (counts.get(lower) || 0) + c);
  return [...counts].sort((a, b) => a[0] - b[0]);
}
function byName(rows) {
  const names = new Map();
  for (const row of rows) names.set(row.name, [...names.get(row.name) || [], row]);
  return [...names.values()];
}
// What all agree on, or nothing: each node judges by what it sees.
const agreed = (rows, key, otherwise) => rows.every(r => r[key] === rows[0][key]) ? rows[0][key] : otherwise;

function mergeRows(rows) {
  const total = addUp(rows, SUMS), buckets = addBuckets(rows), max = Math.max(...rows.map(r => r.max_us || 0));
  for (const [key, q] of [["p50_us", .5], ["p90_us", .9], ["p99_us", .99]])
    total[key] = buckets.length ? Math.min(max, Math.floor(quantile(buckets, sum(buckets, b => b[1]), q))) : undefined;
  return total;
}
function mergeBackend(rows) {
  const bad = rows.filter(r => r.state !== "up"), some = bad.length && bad.length < rows.length;
  const shown = bad[0] || rows[0], reason = (some ? `at ${shown.node}${shown.reason ? ": " : ""}` : "") + shown.reason;
  return { ...mergeRows(rows), state: shown.state, since_s: shown.since_s, reason, verdict: agreed(rows, "verdict", "differs") };
}
function mergePool(rows) {
  const worst = rows.find(r => r.problem) || rows[0];
  return { ...mergeRows(rows), verdict: agreed(rows, "verdict", "differs"), problem: worst.problem,
    sentence: `at ${worst.node}: ${worst.sentence}`, nodes: rows,
    backends: byName(rows.flatMap(r => r.backends.map(b => ({ ...b, node: r.node })))).map(mergeBackend) };
}
function mergeAll(parts) {
  const there = parts.filter(p => p.snap), first = parts[0].snap;
  const problems = there.flatMap(({ node, snap: s }) => s.problems.filter(p => !ofPool(s, p)).map(p => `${node}: ${p}`));
  const missing = parts.filter(p => !p.snap).map(p => `${p.node} is not among these: ${p.why}`);
  const pools = byName(there.flatMap(({ node, snap: s }) => s.pools.map(p => ({ ...p, node }))));
  return { ...first, problems: [...missing, ...problems], workers: there.flatMap(p => p.snap.workers),
    totals: addUp(there.map(p => p.snap.totals), Object.keys(first.totals)), pools: pools.map(mergePool),
    fleet: { answered: there.map(p => p.node), of: parts.length } };
}

// The path of a question to a node, by way of this one.
const via = (node, path) => !node || node === own ? `/v1${path}` : `/v1/nodes/${encodeURIComponent(node)}${path}`;
async function askAll(path) {
  const known = await get("/v1/nodes");
  const names = [known.node, ...known.others.map(o => o.node)];
  return Promise.all(names.map(node => get(via(node, path)).then(answer => ({ node, answer }), error => ({ node, why: String(error.message || error) }))));
}
async function askSnapshots() {
  const parts = (await askAll("/snapshot?buckets=10s")).map(p => ({ ...p, snap: p.answer }));
  if (!parts[0].snap) throw new Error(parts[0].why);
  return mergeAll(parts);
}
function allNodes(on) {
  fleet = on;
  viewed = "";
  anew = true;
  window.history.replaceState(null, "", (on ? "?nodes=shared" : location.pathname) + location.hash);
}
function putSwitch(mine) {
  own = mine.shared.node || "";
  $("fleet").hidden = !mine.shared.on && !fleet;
  $("fleet").setAttribute("aria-pressed", String(fleet));
  setText($("fleet"), `All nodes${mine.shared.on ? ` (${mine.shared.others + 1})` : ""}`);
  setText($("events-of"), fleet ? `Events of ${own}` : "Events");
}

// Errors come as counters: what is new since the last tick.
const ofPool = (s, problem) => s.pools.some(x => x.problem && problem === `pool ${x.name}: ${x.sentence}`);
function rememberNode(p, node) {
  const old = previous && previous.pools.find(x => x.name === p.name);
  const before = old && old.nodes && old.nodes.find(n => n.node === node.node);
  const errors = n => sum(n.backends, b => b.errors);
  node.lately = lately(remember(`${p.name}@${node.node}`, { rate: sum(node.backends, b => b.rate),
    errors: before ? Math.max(0, errors(node) - errors(before)) : 0, p99: node.p99_us == null ? null : node.p99_us }).errors);
}
function rememberPool(p) {
  for (const node of p.nodes || []) rememberNode(p, node);
  const old = previous && previous.pools.find(x => x.name === p.name);
  const before = new Map((old ? old.backends : []).map(b => [b.name, b.errors]));
  let errors = 0;
  for (const b of p.backends) {
    const grown = before.has(b.name) ? Math.max(0, b.errors - before.get(b.name)) : 0;
    errors += grown;
    b.lately = lately(remember(`${p.name}/${b.name}`, { rate: b.rate, errors: grown, p99: b.p99_us == null ? null : b.p99_us }).errors);
  }
  remember(p.name, { rate: sum(p.backends, b => b.rate), errors, p99: p.p99_us == null ? null : p.p99_us });
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

// Of the last minute, as far as it has been seen.
const lately = list => sum((list || []).slice(-60), v => v || 0);

function putTiles() {
  const seconds = previous ? (Date.parse(snap.at) - Date.parse(previous.at)) / 1000 : 0;
  const rate = key => seconds > 0 ? Math.max(0, (snap.totals[key] - previous.totals[key]) / seconds) : null;
  const worst = Math.max(-1, ...snap.pools.map(p => p.p99_us == null ? -1 : p.p99_us));
  remember("#total", { rate: rate("requests"), errors: rate("errors"), flight: snap.totals.in_flight,
    clients: snap.totals.connections, p99: worst < 0 ? null : worst, lag: Math.max(0, ...snap.workers.map(w => w.loop_lag_us)) });
  drawTiles();
}

function drawTiles() {
  const kept = series.get("#total");
  const last = key => kept[key][kept[key].length - 1], errors = lately(kept.errors);
  const tiles = [["requests", count(last("rate") || 0) + "/s", "rate"], ["errors, last minute", count(Math.round(errors)), "errors"],
    ["in flight", count(snap.totals.in_flight), "flight"], ["clients", count(snap.totals.connections), "clients"],
    ["worst p99, 10 s", duration(last("p99")), "p99"], ["loop lag", duration(last("lag")), "lag"]];
  $("tiles").replaceChildren(...tiles.map(([name, value, key]) =>
    el("div", { class: "tile" }, el("h3", {}, name),
      el("div", { class: "value" + (key === "errors" && errors > 0 ? " bad" : "") }, value),
      spark(kept[key], key === "p99" ? "l99" : "lrate"))));
}

// What the flight recorder has goes before what was seen since the page was opened.
// The first tick knows of no errors, as there was none before it: the row of its second replaces it.
function putBefore(kept, past) {
  const seen = kept.rate.length, rows = past.slice(0, Math.max(0, past.length - seen + 1));
  if (!rows.length) return;
  const put = (name, f) => { if (kept[name]) kept[name] = rows.map(f).concat(kept[name].slice(1)).slice(-KEPT); };
  put("rate", r => r.rate);
  put("errors", r => r.errors);
  put("flight", r => r.in_flight);
  put("p99", r => r.rate ? r.p99_us : null);
}

async function recall() {
  const total = [];
  for (const p of snap.pools.slice(0, 50)) {
    const h = await get(`/v1/history?pool=${encodeURIComponent(p.name)}&seconds=${KEPT}`);
    putBefore(series.get(p.name), h.rows);
    h.rows.reverse().forEach((r, i) => {                // the newest of each pool are of the same second
      const t = total[i] || (total[i] = { rate: 0, errors: 0, in_flight: 0, p99_us: 0 });
      for (const key of ["rate", "errors", "in_flight"]) t[key] += r[key];
      t.p99_us = Math.max(t.p99_us, r.p99_us);
    });
  }
  putBefore(series.get("#total"), total.reverse());
  drawTiles();
  for (const [pool, backend] of snap.pools.flatMap(p => p.backends.map(b => [p.name, b.name])).slice(0, 50)) {
    const h = await get(`/v1/history?pool=${encodeURIComponent(pool)}&backend=${encodeURIComponent(backend)}&seconds=${KEPT}`);
    if (series.has(`${pool}/${backend}`)) putBefore(series.get(`${pool}/${backend}`), h.rows);
  }
}

// ---- pools and backends ----

const STATE_ORDER = ["down", "ejected", "unknown", "draining", "gone", "maintenance", "up"];
const COLUMNS = [
  ["name", "backend", "l"], ["state", "state", "l"], ["rate", "rate", "mid"], ["history", "", "wide"],
  ["in_flight", "in flight", "mid"], ["lately", "errors, 1 min", "wide"], ["p50_us", "p50", "wide"], ["p90_us", "p90", "wide"],
  ["p99_us", "p99", ""], ["p99s", "", "wide"], ["weight", "weight", "wide"], ["reason", "verdict or why", "l why"]];

function order(a, b) {
  const value = r => sort.key === "state" ? STATE_ORDER.indexOf(r.state) : sort.key === "reason" ? cellText(r, "reason")
    : r[sort.key] == null ? -1 : r[sort.key];
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
    return el("td", { class: cls + (name === "lately" && b.lately ? " num-bad" : ""), title: name === "lately" ? `${b.errors} since the start` : null },
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

// The cells of a pool: of all of it, or as one node sees it.
function poolCells(pool, kept, errors) {
  const up = pool.backends.filter(b => b.state === "up" || b.state === "unknown").length, n = pool.backends.length;
  const queued = pool.queued ? el("span", { class: "sub" }, ` +${count(pool.queued)} queued`) : "";
  const cells = [["l", el("span", { class: "chip " + (up === n ? "good" : up ? "warn" : "bad") }, `${up} of ${n} up`)],
    ["mid", count(sum(pool.backends, b => b.rate)) + "/s"], ["wide", spark(kept.rate, "lrate")],
    ["mid", count(sum(pool.backends, b => b.in_flight)), queued], ["wide" + (errors ? " num-bad" : ""), count(errors)],
    ["wide", duration(pool.p50_us)], ["wide", duration(pool.p90_us)], ["", duration(pool.p99_us)], ["wide", spark(kept.p99, "l99")],
    ["wide", ""], ["l why", el("span", { class: "chip " + (CHIP[pool.verdict] || ""), title: pool.sentence }, verdictText(pool.verdict))]];
  return cells.map(([cls, ...inside]) => el("td", { class: cls }, ...inside));
}

function poolRow(pool) {
  const mine = chosen && chosen.pool === pool.name && !chosen.backend;
  return el("tr", { class: "pool" + (mine ? " chosen" : ""), onclick: () => choose(pool.name, null) },
    el("th", { class: "l", scope: "rowgroup" }, el("button", { type: "button", class: "plain", "data-key": pool.name }, pool.name),
      el("span", { class: "sub" }, " " + pool.strategy)),
    ...poolCells(pool, series.get(pool.name), sum(pool.backends, b => b.lately)));
}

function nodeRow(pool, node) {
  return el("tr", { class: "node", "data-node": node.node }, el("td", { class: "l" }, `at ${node.node}`),
    ...poolCells(node, series.get(`${pool.name}@${node.node}`), node.lately));
}

function poolRows(pool) {
  const wanted = $("filter").value.toLowerCase();
  const rows = pool.backends.filter(b => !wanted || `${pool.name}/${b.name} ${b.address} ${b.state}`.toLowerCase().includes(wanted));
  if (wanted && !rows.length) return null;
  rows.sort(order);
  const shown = all.has(pool.name) ? rows : rows.slice(0, ROWS);
  return el("tbody", { "aria-label": "pool " + pool.name }, poolRow(pool),
    ...(pool.nodes || []).map(node => nodeRow(pool, node)), ...shown.map(b => backendRow(pool, b)),
    rows.length > shown.length ? el("tr", {}, el("td", { class: "l", colspan: COLUMNS.length }, `${rows.length - shown.length} more `,
      el("button", { type: "button", onclick: () => { all.add(pool.name); putPools(); } }, "show all"))) : null);
}

// One grid: the same column means the same for every pool.
function putPools() {
  const focus = document.activeElement, key = focus && focus.dataset && (focus.dataset.key || focus.dataset.sort);
  const field = focus && focus.dataset && focus.dataset.key ? "key" : "sort";
  const bodies = snap.pools.map(poolRows).filter(Boolean), before = $("pools").querySelector(".scroll");
  const at = before ? [before.scrollLeft, before.scrollTop] : [0, 0];
  $("pools").replaceChildren(bodies.length ? el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, ...COLUMNS.map(([k, t, c]) => heading(k, t, c)))), ...bodies)) :
    el("p", { class: "empty" }, "Nothing matches the filter."));
  if (before && bodies.length) $("pools").querySelector(".scroll").scrollTo(...at);
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

// What is open stands in the URL: it can be kept, sent, and found again by Back.
const wanted = () => chosen ? "#" + [chosen.pool, chosen.backend || "", tab].map(encodeURIComponent).join("/") : "";

function show(pool, backend, name) {
  chosen = { pool, backend };
  tab = name;
  if (snap) putPools();
  putDetail();
}
function note() {
  if (location.hash !== wanted()) window.history.pushState(null, "", wanted() || location.pathname + location.search);
}
function choose(pool, backend) {
  show(pool, backend, backend && tab === "scaling" ? "latency" : !backend && tab === "latency" ? "scaling" : tab);
  note();
}
function hide() {
  chosen = null;
  $("detail").hidden = true;
  $("columns").classList.remove("open");
  if (snap) putPools();
}
function close() {
  hide();
  note();
}
function follow() {
  const [pool, backend, name] = location.hash.slice(1).split("/").map(part => { try { return decodeURIComponent(part); } catch (_) { return ""; } });
  if (pool) show(pool, backend || null, TABS.includes(name) ? name : "scaling");
  else hide();
}
window.addEventListener("popstate", follow);

function select(name, words, value, set) {
  const box = el("select", { "aria-label": name, onchange: e => { set(e.target.value); putDetail(); } },
    ...words.map(w => el("option", { value: w, selected: w === value }, w)));
  return el("label", {}, name + " ", box);
}

function frame() {
  const title = chosen.pool + (chosen.backend ? "/" + chosen.backend : "");
  return [el("div", { class: "head" }, el("h2", {}, title), whose(), changes(), el("button", { type: "button", onclick: close }, "Close")),
    el("div", { class: "tabs", role: "tablist" }, ...TABS.map(name => el("button", { type: "button", role: "tab",
      "aria-selected": name === tab ? "true" : "false", onclick: () => { tab = name; putDetail(); note(); } }, name)))];
}

// Latency is that of all nodes; the rest each node tells by itself.
function whose() {
  if (!fleet) return null;
  if (tab === "latency") return el("span", { class: "sub" }, "at all nodes");
  const pool = snap.pools.find(p => p.name === chosen.pool), names = pool && pool.nodes ? pool.nodes.map(n => n.node) : [own];
  return select("at", names, viewed || own, v => { viewed = v; });
}

let turn = 0;
async function putDetail() {
  const mine = ++turn, box = $("detail");
  if (!chosen) return;
  box.hidden = false;
  $("columns").classList.add("open");
  let parts;
  try {
    parts = await { latency, history: timeline, scaling, slow }[tab]();
  } catch (error) {
    parts = [el("p", { class: "empty" }, String(error.message || error))];
  }
  if (mine !== turn || !chosen || box.querySelector("input[type=range]:active")) return;
  const focus = box.contains(document.activeElement) ? [...box.querySelectorAll("button,select,input")].indexOf(document.activeElement) : -1;
  box.replaceChildren(...frame(), ...parts);
  if (focus >= 0) { const again = box.querySelectorAll("button,select,input")[focus]; if (again) again.focus(); }
}

const poolPath = () => `/pools/${encodeURIComponent(chosen.pool)}`;
const base = () => `/v1${poolPath()}`;
const one = first => chosen.backend ? `${first}backend=${encodeURIComponent(chosen.backend)}` : "";

function quantile(buckets, n, q) {
  const rank = Math.ceil(q * n - 1e-6);
  let seen = 0;
  for (const [lower, c] of buckets)
    if ((seen += c) >= rank) return lower < 64 ? lower : lower + 2 ** Math.floor(Math.log2(lower)) / 64;
  return 0;
}

async function histogram() {
  const path = `${poolPath()}/histogram?phase=${phase}&window=${window_}${one("&")}`;
  if (!fleet) return get(via("", path));
  const there = (await askAll(path)).filter(p => p.answer).map(p => p.answer);
  return { n: sum(there, h => h.n), buckets: addBuckets(there) };
}

async function latency() {
  const h = await histogram();
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

const WEEK_S = 7 * 86400;
const SPANS = { "1 h": [3600, "1m"], "1 d": [86400, "15m"], "30 d": [30 * 86400, "6h"] };
const STEPS = { "1m": 60, "15m": 900, "6h": 21600 };

// What is stored, and the hours of a week before it, moved to where they belong.
async function stored() {
  const [span, step] = SPANS[range_], of = `pool=${encodeURIComponent(chosen.pool)}${one("&")}`;
  const now = Math.floor(Date.now() / 1000), h = await get(via(viewed, `/history?since=-${span}s&step=${step}&${of}`));
  let before = [];
  if (span <= 86400) {
    const old = await get(via(viewed, `/history?since=${now - WEEK_S - span}&until=${now - WEEK_S}&step=1h&${of}`));
    before = old.rows.map(r => ({ ...r, at_s: r.at_s + WEEK_S, seconds_: 3600 })).filter(r => r.at_s + 3600 > now - span);
  }
  return { rows: h.rows, markers: h.markers, step: STEPS[step], before };
}

async function timeline() {
  const tools = el("div", { class: "bar" }, select("time", RANGES, range_, v => { range_ = v; }));
  if (range_ !== "15 min" && !snap.state.on)
    return [tools, el("p", { class: "empty" }, "Nothing is stored: add state: {directory: /var/lib/weir} to the configuration.")];
  const recent = range_ === "15 min";
  const h = recent ? await get(via(viewed, `/history?pool=${encodeURIComponent(chosen.pool)}&seconds=900${one("&")}`)) : await stored();
  const step = h.step || 1, before = h.before || [];
  if (h.rows.length < 2) return [tools, el("p", { class: "empty" }, recent ? "The flight recorder has just begun." : "Too little is stored yet.")];
  const quiet = r => r.rate ? r : { ...r, p50_us: null, p99_us: null };   // nothing was measured without a request
  const rows = h.rows.map(quiet), week = before.length ? [["dim", "the same hour a week ago"]] : [];
  const draw = (title, kinds, format) => lines(title, rows, kinds, format, h.markers, before, step);
  return [tools, draw(recent ? "latency of each second" : "latency", [{ key: "p50_us", cls: "l50" }, { key: "p99_us", cls: "l99" }], duration),
    legend(["p50", "p50"], ["p99", "p99"], ["warn", "reload or change"], ...week),
    draw("requests per second", [{ key: "rate", cls: "lrate" }, ...(recent ? [{ key: "errors", cls: "l99" }] : [])], count),
    legend(["accent", "rate"], ...(recent ? [["p99", "errors"]] : []), ...week),
    draw("in flight", [{ key: "in_flight", cls: "l50" }, { key: "queued", cls: "l99" }], count),
    legend(["p50", "in flight"], ["p99", "queued"], ...week)];
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
  box.atX = x;
  box.atY = y;
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

// Where a backend's curve has this rate: its mean number in flight; null above the highest.
function levelAt(fitted, rate) {
  let last = { in_flight: 0, rate: 0 };
  for (const point of fitted) {
    if (point.rate >= rate)
      return last.in_flight + (point.in_flight - last.in_flight) * (rate - last.rate) / ((point.rate - last.rate) || 1);
    if (point.rate > last.rate) last = point;
  }
  return null;
}

// What the curve says of so many backends under such a load, or why it says nothing.
function reckon(s, n, load) {
  const m = s.model, rate = s.evidence.rate * load, share = rate / n;
  if (s.evidence.shared && s.evidence.shared.found && n !== s.backends.length)
    return { refusal: "what the backends share decides, not their number" };
  const exact = s.forecast.find(f => f.backends === n && load === 1);
  if (exact && exact.refusal) return { refusal: exact.refusal };
  if (m.capacity && share >= 0.97 * m.capacity && !m.capacity_at_least)
    return { share, refusal: `${count(rate)}/s is ${share >= m.capacity ? "more than" : "nearly all that"} ${n} backend${n > 1 ? "s" : ""} can take (${count(n * m.capacity)}/s)` };
  const level = levelAt(m.fitted, share);
  if (level == null) return { share, refusal: "so much load was never seen: the curve ends before" };
  return { share, level, rate, mean_us: share > 0 ? 1e6 * level / share : null, busy: m.capacity ? share / m.capacity : null, exact };
}

function sayReckoned(r, n) {
  if (r.refusal) return `No forecast: ${r.refusal}.`;
  const p99 = r.exact && r.exact.p99_us && r.exact.p99_us.low != null ? `, p99 ${duration(r.exact.p99_us.low)} – ${duration(r.exact.p99_us.high)}` : "";
  return `${n} backend${n > 1 ? "s" : ""} at ${count(r.rate)}/s: mean time ${duration(r.mean_us)}${p99}, ${digits(r.level)} in flight at each` +
    (r.busy == null ? "" : `, ${Math.round(100 * r.busy)} % busy`) + ".";
}

// Sliders over the curve; they stay as they are when it is drawn anew.
function whatIf(s, box) {
  const now = s.backends.length;
  if (!s.model.fitted || !s.model.fitted.length || !s.evidence.rate)
    return el("p", { class: "empty" }, `No sliders: ${s.model.refusal || "there is no model, or no load, yet"}.`);
  if (!wish || wish.pool !== s.pool) wish = { pool: s.pool, backends: now, load: 1 };
  const said = el("p", { id: "reckoned", role: "status" });
  const draw = () => {
    const r = reckon(s, wish.backends, wish.load);
    setText(said, sayReckoned(r, wish.backends));
    for (const old of box.querySelectorAll(".wish")) old.remove();
    if (r.share != null) box.append(svg("line", { x1: L, x2: W - R, y1: Math.max(T, box.atY(r.share)), y2: Math.max(T, box.atY(r.share)), class: "mark wish" }));
    if (r.level != null) box.append(svg("circle", { cx: box.atX(r.level), cy: box.atY(r.share), r: 6, class: "point wish" }));
  };
  const slider = (id, name, min, max, step, value, text, set) => {
    const shown = el("output", { for: id }, text(value));
    return el("label", { class: "slider" }, el("span", {}, name), el("input", { id, type: "range", min, max, step, value, oninput: e => {
      set(Number(e.target.value));
      setText(shown, text(Number(e.target.value)));
      draw();
    } }), shown);
  };
  const parts = [slider("wish-backends", "backends", 1, Math.max(4, 2 * now), 1, wish.backends, String, v => { wish.backends = v; }),
    slider("wish-load", "load", 0.25, 3, 0.05, wish.load, v => `${digits(v)} x now`, v => { wish.load = v; })];
  draw();
  return el("div", { class: "what-if" }, ...parts, said);
}

async function scaling() {
  const s = await get(via(viewed, `${poolPath()}/scaling`)), e = s.evidence || {}, m = s.model || {};
  const parts = [el("p", { class: "verdict " + (CHIP[s.verdict] || "none") }, el("b", {}, verdictText(s.verdict)),
    el("span", {}, s.sentence || s.meaning || ""))];
  if (s.curve && s.curve.length)
    parts.push(...drawn(s));
  const facts = [["model", m.refusal ? "none: " + m.refusal : m.kind || "none"]];
  if (e.alone && e.alone.p50_us != null) facts.push(["alone", `p50 ${duration(e.alone.p50_us)}, p95 ${duration(e.alone.p95_us)}`]);
  if (e.now && e.now.p50_us != null) facts.push(["now", `p50 ${duration(e.now.p50_us)}, p95 ${duration(e.now.p95_us)}, p99 ${duration(e.now.p99_us)}`]);
  if (e.growth != null) facts.push(["growth", `${digits(e.growth)} x`]);
  if (m.capacity != null) facts.push(["capacity", `${m.capacity_at_least ? "at least " : ""}${count(m.capacity)}/s a backend`]);
  parts.push(el("dl", {}, ...facts.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)])));
  const range = r => r && r.low != null ? `${duration(r.low)} – ${duration(r.high)}` : "–";
  if (s.forecast && s.forecast.length)
    parts.push(el("h3", {}, "forecast"), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...["backends", "p50", "p99", "utilisation"].map((t, i) => el("th", { class: i ? "" : "l", scope: "col" }, t)))),
      el("tbody", {}, ...s.forecast.map(f => el("tr", { title: f.sentence || "" }, el("td", { class: "l" }, `${f.backends} (${f.change > 0 ? "+" : ""}${f.change})${f.load === 1 ? "" : `, ${f.load} x the load`}`),
        ...(f.refusal ? [el("td", { class: "l why", colspan: 3 }, f.refusal)] : f.saturated ? [el("td", { class: "l why", colspan: 3 }, "saturated: the queue grows without end")] :
          [el("td", {}, range(f.p50_us)), el("td", {}, range(f.p99_us)), el("td", {}, f.utilisation == null ? "–" : Math.round(100 * f.utilisation) + " %")])))))));
  return parts;
}

function drawn(s) {
  const box = curve(s), fitted = s.model && s.model.fitted && s.model.fitted.length;
  return [el("h3", {}, "requests per second of a typical backend against requests in flight"), box,
    legend(["p99", "measured"], ...(fitted ? [["p50", "fitted"], ["p90", "interval of the fit"]] : [])), whatIf(s, box)];
}

async function slow() {
  const s = await get(via(viewed, `${poolPath()}/slow?limit=30${one("&")}`));
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
  if (fleet) return el("span", { class: "sub" }, token && chosen.backend ? "changes: at one node, or by weirctl --all" : "");
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

// A verdict as people say it, once.
function eventText(e) {
  const [, key, rest] = (e.kind === "verdict" && e.message.match(/^(\w+): (.*)$/s)) || [];
  return !key ? e.message : rest.includes(verdictText(key)) ? rest : `${verdictText(key)}: ${rest}`;
}

async function putEvents() {
  if (!snap || snap.last_event === lastEvent) return;
  const wanted = snap.last_event;
  const answer = await get(`/v1/events?since=${wanted < lastEvent ? 0 : eventsSince}`);
  lastEvent = eventsSince = wanted;
  for (const e of answer.events)
    $("events").prepend(el("li", {}, el("time", { datetime: e.at, title: e.at }, clock(e.at)), el("span", { class: "kind" }, e.kind.replace(/_/g, " ")),
      el("span", {}, [e.pool, e.backend].filter(Boolean).join("/")), el("span", { class: "text" }, eventText(e))));
  while ($("events").children.length > 200) $("events").lastChild.remove();
}

// ---- the stream ----

function onTick(message) {
  const mine = parse(message.data);
  putSwitch(mine);
  if (!fleet) { take(mine); return; }
  if (asking) return;
  asking = true;
  askSnapshots().then(all => fleet && take(all), error => state(String(error.message || error), "off")).finally(() => { asking = false; });
}

// Counters grow between two snapshots of the same nodes, and no others.
const answered = s => String(s && s.fleet ? s.fleet.answered : "");
function take(next) {
  if (anew) series.clear();
  previous = anew || answered(snap) !== answered(next) ? null : snap;
  anew = false;
  snap = next;
  for (const p of snap.pools) rememberPool(p);
  if (snap.fleet) setText($("about"), `${snap.fleet.answered.length} of ${snap.fleet.of} nodes, asked by ${own}`);
  else setText($("about"), `${snap.version}, up ${age(snap.uptime_s)}, generation ${snap.generation}${snap.draining ? ", draining" : ""}`);
  document.title = (snap.problems.length ? `(${snap.problems.length}) ` : "") + "weir";
  putVerdicts();
  putTiles();
  putPools();
  putEvents().catch(() => {});
  if (!previous && !fleet) recall().catch(() => {});
  if (!previous) follow();
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
$("fleet").addEventListener("click", () => allNodes(!fleet));
$("theme").addEventListener("click", nextTheme);
$("help").addEventListener("click", e => toggle("keys", e.currentTarget));
// Without a token to be had the form would lead nowhere: it says how there can be one.
async function explain() {
  const conf = await get("/v1/config"), can = Boolean(conf.status && conf.status.token_file);
  $("token-form").dataset.can = can ? "yes" : "no";
  $("why-not").hidden = can;
  for (const id of ["with-token", "allow", "kept"]) $(id).hidden = !can;
}
$("unlock").addEventListener("click", e => {
  toggle("token-form", e.currentTarget);
  if (!$("token-form").hidden) explain().then(() => { if (!$("with-token").hidden) $("token").focus(); }).catch(() => {});
});
$("token-form").addEventListener("submit", e => {
  e.preventDefault();
  token = $("token").value.trim();
  setText($("unlock"), token ? "Changes allowed" : "Read-only");
  toggle("token-form", $("unlock"));
  putDetail();
});
try { setTheme(localStorage.getItem("weir-theme")); } catch (_) { /* no storage: the system's theme */ }
listen();
