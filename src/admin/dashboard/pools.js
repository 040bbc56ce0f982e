// SPDX-License-Identifier: MIT
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
