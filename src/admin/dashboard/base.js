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
