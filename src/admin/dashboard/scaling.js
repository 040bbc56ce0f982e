// SPDX-License-Identifier: MIT
// ---- the curve of a pool, and what it says of other numbers of backends and other loads ----

function curve(s) {
  const well = s.curve.filter(c => c.completions >= 30), shown = well.length ? well : s.curve;   // the others are noise
  const points = shown.map(c => [c.in_flight, c.rate]), fit = (s.model.fitted || []).map(c => [c.in_flight, c.rate]);
  const end = s.model.at_n_max, box = chart("throughput against requests in flight");
  const right = Math.max(2, ...points.map(p => p[0]), ...fit.map(p => p[0])) + .5;
  const x = linear(0, right, L, W - R);
  const y = scaleY(Math.max(...points.map(p => p[1]), ...fit.map(p => p[1]), end && end.high || 0));
  const step = Math.max(1, Math.ceil(nice(right / 6)));
  x.ticks = [];
  for (let n = 0; n <= right; n += step) x.ticks.push([n, count(n)]);
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
    return el("p", { class: "empty" }, `No sliders: ${s.model.refusal || (s.evidence.rate ? "there is no model yet" : "there is no load now")}.`);
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
    el("span", {}, afterVerdict(s.verdict, s.sentence) || s.meaning || ""))];
  if (s.curve && s.curve.length)
    parts.push(...drawn(s));
  const facts = [["model", m.refusal ? "none: " + m.refusal : m.kind || "none"]];
  if (e.alone && e.alone.p50_us != null) facts.push(["alone", `p50 ${duration(e.alone.p50_us)}, p95 ${duration(e.alone.p95_us)}`]);
  if (e.now && e.now.p50_us != null) facts.push(["now", `p50 ${duration(e.now.p50_us)}, p95 ${duration(e.now.p95_us)}, p99 ${duration(e.now.p99_us)}`]);
  if (e.growth != null) facts.push(["growth", `${digits(e.growth)} x`]);
  if (m.capacity != null) facts.push(["capacity", `${m.capacity_at_least ? "at least " : ""}${count(m.capacity)}/s a backend`]);
  parts.push(el("dl", {}, ...facts.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)])));
  parts.push(...forecasts(s.forecast || []));
  return parts;
}

// Why there is none is said once where it is the same for all.
function forecasts(rows) {
  if (!rows.length) return [];
  if (rows.every(f => f.refusal && f.refusal === rows[0].refusal))
    return [el("h3", {}, "forecast"), el("p", { class: "sub" }, `none: ${rows[0].refusal}`)];
  const range = r => r && r.low != null ? `${duration(r.low)} – ${duration(r.high)}` : "–";
  const head = el("tr", {}, ...["backends", "p50", "p99", "utilisation"].map((t, i) => el("th", { class: ["l", "mid", "", ""][i], scope: "col" }, t)));
  const said = f => f.refusal || f.saturated ? [el("td", { class: "l why", colspan: 3 }, f.refusal || "saturated: the queue grows without end")] :
    [el("td", { class: "mid" }, range(f.p50_us)), el("td", {}, range(f.p99_us)), el("td", {}, f.utilisation == null ? "–" : Math.round(100 * f.utilisation) + " %")];
  const name = f => f.load === 1 ? `${f.backends} (${f.change > 0 ? "+" : ""}${f.change})` : `${f.backends}, ${f.load} x the load`;
  return [el("h3", {}, "forecast"), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head),
    el("tbody", {}, ...rows.map(f => el("tr", { title: f.sentence || "" }, el("td", { class: "l" }, name(f)), ...said(f))))))];
}

function drawn(s) {
  const box = curve(s), fitted = s.model && s.model.fitted && s.model.fitted.length;
  return [el("h3", {}, "requests per second of a typical backend against requests in flight"), box,
    legend(["p99", "measured"], ...(fitted ? [["p50", "fitted"], ["p90", "interval of the fit"]] : [])), whatIf(s, box)];
}
