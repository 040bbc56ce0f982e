// SPDX-License-Identifier: MIT
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
  const done = h.markers.filter(m => m.kind !== "verdict");            // what was done, not what was thought of it
  const draw = (title, kinds, format) => lines(title, rows, kinds, format, done, before, step);
  return [tools, draw(recent ? "latency of each second" : "latency", [{ key: "p50_us", cls: "l50" }, { key: "p99_us", cls: "l99" }], duration),
    legend(["p50", "p50"], ["p99", "p99"], ["warn", "reload or change"], ...week),
    draw("requests per second", [{ key: "rate", cls: "lrate" }, ...(recent ? [{ key: "errors", cls: "l99" }] : [])], count),
    legend(["accent", "rate"], ...(recent ? [["p99", "errors"]] : []), ...week),
    draw("in flight", [{ key: "in_flight", cls: "l50" }, { key: "queued", cls: "l99" }], count),
    legend(["p50", "in flight"], ["p99", "queued"], ...week)];
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
