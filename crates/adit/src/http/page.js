"use strict";
// Asks for the status each second and writes it into the page. Text only ever goes in as text
// (textContent), so no name that a miner chose can become markup.

const POINTS_MAX = 600;
const points = [];
const at = (id) => document.getElementById(id);
const put = (id, text) => { const node = at(id); if (node.textContent !== text) node.textContent = text; };
const whole = (number) => Number(number).toLocaleString("en");

function scaled(number, unit) {
  const prefixes = ["", "k", "M", "G", "T", "P", "E", "Z"];
  let at = 0;
  while (number >= 999.5 && at < prefixes.length - 1) { number /= 1000; at += 1; }
  const digits = number >= 100 || (at === 0 && Number.isInteger(number)) ? 0 : 1;
  return `${number.toFixed(digits)} ${prefixes[at]}${unit}`;
}

function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

const micros = (us) => (us < 1000 ? `${us} \u00b5s` : us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(1)} s`);

function child(parent, tag, text, title) {
  const node = document.createElement(tag);
  node.textContent = text;
  if (title) node.title = title;
  parent.append(node);
  return node;
}

function facts(id, rows) {
  const list = at(id);
  list.replaceChildren();
  for (const [name, text] of rows) { child(list, "dt", name); child(list, "dd", text); }
}

function light(colour, reason) {
  at("light").className = `light ${colour}`;
  put("reason", reason);
}

// A pool that listens everywhere is reached by the name that reached this page.
function connectString(url) {
  return url.replace("//0.0.0.0:", `//${location.hostname}:`).replace("//[::]:", `//${location.hostname}:`);
}

function sparkline(rate) {
  points.push(rate);
  if (points.length > POINTS_MAX) points.shift();
  const top = Math.max(...points, 1);
  const step = 300 / Math.max(points.length - 1, 1);
  const spot = (value, n) => `${(n * step).toFixed(1)},${(38 - 36 * value / top).toFixed(1)}`;
  at("line").setAttribute("d", points.length > 1 ? `M${points.map(spot).join("L")}` : "");
}

function showShares(s) {
  put("accepted", whole(s.shares.accepted));
  put("rejected", whole(s.shares.rejected));
  const list = at("reasons");
  list.replaceChildren();
  for (const [reason, count] of Object.entries(s.shares.by_reason)) child(list, "li", `${reason}: ${whole(count)}`);
  if (s.best_share) {
    put("best", scaled(s.best_share.work, ""));
    put("best-by", `by ${s.best_share.worker}, ${duration((s.taken_at_us - s.best_share.at_us) / 1000)} ago`);
  }
}

function showBlocks(s) {
  const b = s.blocks;
  put("blocks", whole(b.found));
  if (!b.last) return;
  const ago = duration((s.taken_at_us - b.last.at_us) / 1000);
  const rest = `${b.accepted} accepted, ${b.rejected} rejected, ${b.pending} pending`;
  put("blocks-detail", `${rest}. Last: height ${b.last.height}, ${ago} ago, by ${b.last.worker}`);
  put("block-hash", b.last.hash);
}

function showWorkers(s) {
  const body = at("workers");
  body.replaceChildren();
  for (const w of s.workers) {
    const row = document.createElement("tr");
    child(row, "td", w.name, w.name);
    child(row, "td", scaled(w.hash_rate, "H/s"));
    child(row, "td", whole(w.accepted));
    child(row, "td", whole(w.rejected));
    child(row, "td", scaled(w.best_work, ""));
    child(row, "td", w.last_share_us ? `${duration((s.taken_at_us - w.last_share_us) / 1000)} ago` : "never");
    body.append(row);
  }
  at("no-workers").hidden = s.workers.length > 0;
  put("workers-total", s.workers_total > s.workers.length ? `the first ${s.workers.length} of ${whole(s.workers_total)}` : "");
}

function showNode(s) {
  const n = s.node;
  const known = (value, text) => (value === null ? "unknown" : text(value));
  facts("node", [
    ["State", n.state + (n.reason ? `: ${n.reason}` : "")],
    ["Source", n.name ? `${n.spec}, ${n.name}` : n.spec],
    ["Network", n.network],
    ["Height", whole(n.height)],
    ["Tip", n.tip],
    ["Template", known(n.template_age_ms, (ms) => `${duration(ms)} old`)],
    ["Transactions", known(n.transactions, whole)],
    ["Fees", known(n.fees_sat, (sat) => `${whole(sat)} sat`)],
  ]);
  facts("pool", [
    ["Listens on", s.pool.listen],
    ["Connections", whole(s.connections.open)],
    ["Channels", `${whole(s.channels.standard)} standard, ${whole(s.channels.extended)} extended`],
    ["Ledger", s.ledger.state === "up" ? `${whole(s.ledger.committed)} records on disk` : s.ledger.reason],
    ["Disk commit", `${micros(s.ledger.commit_latency.p50_us)}, worst of 100: ${micros(s.ledger.commit_latency.p99_us)}`],
    ["Acknowledged in", `${micros(s.ack_latency.p50_us)}, worst of 100: ${micros(s.ack_latency.p99_us)}`],
    ["Blocks handed in", `${micros(s.blocks.submit_latency.p50_us)}, worst of 100: ${micros(s.blocks.submit_latency.p99_us)}`],
    ["Jobs sent in", `${micros(s.fan_out_latency.p50_us)}, worst of 100: ${micros(s.fan_out_latency.p99_us)}`],
  ]);
}

function show(s) {
  light(s.health.light, s.health.reason);
  put("url", connectString(s.pool.url));
  put("rate", scaled(s.hash_rate["1m"], "H/s"));
  put("rate10", scaled(s.hash_rate["10m"], "H/s"));
  put("rate60", scaled(s.hash_rate["1h"], "H/s"));
  sparkline(s.hash_rate["1m"]);
  showShares(s);
  showBlocks(s);
  showWorkers(s);
  showNode(s);
  put("version", s.version);
  put("uptime", duration(s.uptime_ms));
  document.title = `${scaled(s.hash_rate["1m"], "H/s")} - adit`;
}

async function poll() {
  try {
    const answer = await fetch("/api/v1/status", { signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    light("red", `adit does not answer (${error.message})`);
  }
  setTimeout(poll, 1000);
}

async function copy() {
  const text = at("url").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard needs a secure context; select the text for the keyboard instead.
    getSelection().selectAllChildren(at("url"));
    document.execCommand("copy");
  }
  put("copy", "Copied");
  setTimeout(() => put("copy", "Copy"), 1500);
}

at("copy").addEventListener("click", copy);
poll();
