// SPDX-License-Identifier: MIT
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
