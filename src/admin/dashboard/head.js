// SPDX-License-Identifier: MIT
// ---- the head of the page: verdicts, problems, totals ----

const CHIP = { healthy: "good", steady: "good", not_enough_data: "", performance: "bad", scalability: "warn",
  scalability_shared: "bad", skewed: "warn", odd: "warn", balancer: "bad", failing: "bad" };
const WORDS = { performance: "slow on its own", scalability: "slow under load", scalability_shared: "slow under load, shared bottleneck",
  skewed: "uneven", balancer: "weir itself", not_enough_data: "learning", odd: "one backend differs", differs: "unlike at nodes" };
const verdictText = v => WORDS[v] || v.replace(/_/g, " ");
// Behind its verdict a sentence need not begin with it.
const afterVerdict = (v, sentence) => sentence && sentence.startsWith(verdictText(v) + ": ") ? sentence.slice(verdictText(v).length + 2) : sentence || "";

// Only what is wrong stands out; all the rest is one line.
function putVerdicts() {
  const rows = snap.problems.filter(p => !ofPool(snap, p))
    .map(p => ["bad", "problem", p]);
  const quiet = [];
  for (const p of snap.pools) {
    if (p.problem) rows.push([CHIP[p.verdict] || "warn", `${p.name}: ${verdictText(p.verdict)}`, afterVerdict(p.verdict, p.sentence)]);
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

// Errors come as counters: what is new since the last tick.
// A pool's own banner says it already: it is that pool's, or of the backend that the pool's is about.
const ofPool = (s, problem) => s.pools.some(x => x.problem && (problem === `pool ${x.name}: ${x.sentence}` ||
  x.backends.some(b => problem.startsWith(`backend ${x.name}/${b.name} is `) && x.sentence.startsWith(`${x.name}/${b.name} `))));
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
