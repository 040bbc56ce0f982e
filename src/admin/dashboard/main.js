// SPDX-License-Identifier: MIT
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

// One question at a time: the next tick comes before a slow answer to this one.
let asked = false;
async function putEvents() {
  if (!snap || asked || snap.last_event === lastEvent) return;
  asked = true;
  try {
    const wanted = snap.last_event, answer = await get(`/v1/events?since=${wanted < lastEvent ? 0 : eventsSince}`);
    lastEvent = eventsSince = wanted;
    for (const e of answer.events)
      $("events").prepend(el("li", {}, el("time", { datetime: e.at, title: e.at }, clock(e.at)), el("span", { class: "kind" }, e.kind.replace(/_/g, " ")),
        el("span", {}, [e.pool, e.backend].filter(Boolean).join("/")), el("span", { class: "text" }, eventText(e))));
    while ($("events").children.length > 200) $("events").lastChild.remove();
  } finally {
    asked = false;
  }
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
