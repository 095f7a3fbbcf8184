// Who mines: the list, and one of them.

import { card, h, link, put, row, table } from "./dom.js";
import { every, listen, withBooks } from "./live.js";
import { STATES, address, ago, device, difficulty, duration, error, protocol, rate, short, when, whole } from "./words.js";
import { why } from "./home.js";
import { hashRateChart } from "./chart.js";
import { bestShares, refused, totals } from "./history.js";

export const state = (name) => h("span", { class: `state ${name}` }, h("span", { class: "dot", "aria-hidden": "true" }), STATES[name] ?? name);
// A name that leads to its page.
export const named = (name) => h("a", { href: `/worker/${encodeURIComponent(name)}`, title: name }, short(name) || "(no name)");
// Who has no rate worth a number has none.
const speed = (w) => (w.error === null ? "\u2013" : [rate(w.hash_rate), h("span", { class: "note" }, error(w.error))]);

export const COLUMNS = [
  { name: "Name", class: "left grow", sort: "name", short: true, cell: (w) => [named(w.name), h("span", { class: "note" }, device(w.device) || null)] },
  { name: "State", class: "left", sort: "state", short: true, cell: (w) => state(w.state) },
  { name: "Hash rate", sort: "hash_rate", short: true, cell: speed },
  { name: "Accepted", class: "wide", sort: "accepted", cell: (w) => whole(w.accepted) },
  { name: "Refused", class: "wide", sort: "rejected", short: true, cell: (w) => whole(w.rejected) },
  { name: "Best", class: "wide", sort: "best_work", cell: (w) => (w.best_work ? difficulty(w.best_work) : "\u2013") },
  { name: "Last share", class: "wide", sort: "last_share_us", short: true, cell: (w, nowUs) => ago(w.last_share_us, nowUs) },
];

const PER_PAGE = 50;

export function workers(main, signal) {
  const list = h("div");
  const pages = h("div", { class: "pages" });
  let nowUs = Date.now() * 1000;
  const wanted = { page: 1, sort: "-hash_rate", q: "", state: new URLSearchParams(location.search).get("state") ?? "", kind: "workers" };
  const path = () => {
    const query = new URLSearchParams({ page: wanted.page, per_page: PER_PAGE, sort: wanted.sort });
    if (wanted.q) query.set("q", wanted.q);
    if (wanted.state) query.set("state", wanted.state);
    return `/api/v1/${wanted.kind}?${query}`;
  };
  const change = (what) => {
    Object.assign(wanted, { page: 1 }, what);
    ask();
  };
  const search = h("input", { type: "search", placeholder: "Find a name", "aria-label": "Find a name", maxlength: 100, oninput: (event) => change({ q: event.target.value.trim() }) });
  const states = h("select", { "aria-label": "State", onchange: (event) => change({ state: event.target.value }) },
    h("option", { value: "" }, "Any state"), Object.entries(STATES).map(([value, name]) => h("option", { value, selected: value === wanted.state }, name)));
  const kinds = h("div", { class: "tabs", role: "group", "aria-label": "Rows" }, [["workers", "Workers"], ["accounts", "Accounts"]].map(([kind, name]) => h("button", {
    type: "button", "aria-pressed": String(kind === wanted.kind), onclick: (event) => {
      for (const button of kinds.children) button.setAttribute("aria-pressed", String(button === event.target));
      change({ kind });
    },
  }, name)));
  main.append(h("div", { class: "title" }, h("h1", null, "Workers"), kinds,
    h("p", null, "An account is who is paid; workers are its machines.")),
  h("section", { class: "card" }, h("div", { class: "tools" }, search, states), list, pages));

  listen(({ status }) => { if (status) nowUs = status.taken_at_us; }, signal);
  const order = { get sort() { return wanted.sort; }, set: (sort) => { wanted.sort = sort; ask(); } };
  const ask = every(5000, path, (page) => {
    const columns = COLUMNS.map((column) => ({ ...column, cell: (w) => column.cell(w, nowUs) }));
    const focused = document.activeElement?.dataset?.sort;
    put(list, page.items.length ? table("Workers", columns, page.items, order) : h("p", { class: "empty" }, "Nobody of that kind."));
    if (focused) list.querySelector(`[data-sort="${focused}"]`)?.focus();
    turn(pages, page, (number) => { wanted.page = number; ask(); });
  }, signal);
}

// Which page of how many, and the way to the others.
export function turn(node, page, go) {
  const last = Math.max(1, Math.ceil(page.total / page.per_page));
  const from = page.total ? (page.page - 1) * page.per_page + 1 : 0;
  const to = Math.min(page.total, page.page * page.per_page);
  put(node, h("span", null, `${whole(from)} to ${whole(to)} of ${whole(page.total)}`),
    h("span", null, last > 1 && [
      h("button", { class: "button", type: "button", disabled: page.page <= 1, onclick: () => go(page.page - 1) }, "Back"),
      h("button", { class: "button", type: "button", disabled: page.page >= last, onclick: () => go(page.page + 1) }, "More"),
    ]));
}

export function worker(main, signal, name) {
  const body = h("div");
  main.append(body, past(name, signal));
  let nowUs = Date.now() * 1000;
  listen(({ status }) => { if (status) nowUs = status.taken_at_us; }, signal);
  every(3000, `/api/v1/workers/${encodeURIComponent(name)}`, (w) => draw(body, w, nowUs), signal, (refused) => {
    put(body, h("div", { class: "title" }, h("h1", null, name)),
      h("section", { class: "card" }, h("p", null, refused.code === 404 ? "Nobody of that name was seen here for some hours." : refused.message), h("p", null, link("/workers", "All workers"))));
  });
}

// What the books have of a name: nothing where there is no database.
function past(name, signal) {
  const query = new URLSearchParams({ name });
  const [all, best, rejects] = [h("div"), h("div"), h("div")];
  const grid = h("div", { class: "grid past", hidden: true });
  let chart = null;
  withBooks(() => every(15000, `/api/v1/books/accounts/${encodeURIComponent(name)}`, (known) => {
    put(all, totals(known));
    if (chart) return;
    chart = hashRateChart(signal, name, 86400);
    grid.hidden = false;
    grid.append(h("section", { class: "card w12 tall" }, h("div", { class: "head" }, h("h2", null, "Hash rate over time"), chart.spans), chart.figure),
      card("w12", "Since the first share", all), card("w6", "Best shares of 30 days", best), card("w6", "Refused shares of 30 days", rejects));
    every(15000, `/api/v1/books/best-shares?per_page=6&${query}`, (rows) => put(best, bestShares(rows, false)), signal);
    every(15000, `/api/v1/books/rejects?${query}`, (rows) => put(rejects, refused(rows)), signal);
  }, signal, () => {}), null, signal);
  return grid;
}

function draw(body, w, nowUs) {
  const about = w.workers ? [`an account with ${whole(w.workers)} workers`] : [device(w.device), w.protocol && protocol(w.protocol)].filter(Boolean);
  const rows = w.peers.flatMap((peer) => peer.channels.map((channel) => ({ ...channel, peer })));
  put(body,
    h("div", { class: "title" }, h("h1", null, w.name || "(no name)"), state(w.state),
      h("p", null, w.account && ["a worker of ", named(w.account), about.length ? ", " : ""], about.join(", "))),
    w.state === "silent" && silence(w, nowUs),
    h("div", { class: "grid" },
      card("w6", "Hash rate", h("p", { class: "big" }, w.error === null ? "\u2013" : [rate(w.hash_rate), " ", h("small", null, error(w.error))]),
        row([["1 min", rate(w.hash_rates["1m"])], ["5 min", rate(w.hash_rates["5m"])], ["1 h", rate(w.hash_rates["1h"])], ["24 h", rate(w.hash_rates["24h"])], ["7 d", rate(w.hash_rates["7d"])]])),
      card("w3", "Shares", h("p", { class: "big" }, whole(w.accepted)), h("p", { class: "note" }, `${whole(w.rejected)} refused`),
        h("p", { class: "note" }, `last ${ago(w.last_share_us, nowUs)}`)),
      card("w3", "Best share", h("p", { class: "big" }, w.best_work ? difficulty(w.best_work) : "\u2013"),
        h("p", { class: "note" }, w.share_work ? `a share has difficulty ${difficulty(w.share_work)}` : "not connected"), h("p", { class: "note" }, `first seen ${when(w.since_us)}`)),
      w.behind.length > 0 && card("w12", "Workers of this account", table("Workers of this account", COLUMNS.map((column) => ({ ...column, cell: (one) => column.cell(one, nowUs) })), w.behind)),
      card("w12", "Connections", rows.length ? table("Connections", channels(nowUs), rows)
        : h("p", { class: "empty" }, w.account ? "Its shares come over a channel of its account." : "None now."),
        rows.length > 0 && h("p", { class: "note" }, link("/payouts", "Whom their coinbases pay"))),
      card("w12", "Refused shares", w.rejects.length ? w.rejects.map((one) => why(one, w.rejected)) : h("p", { class: "empty" }, "None."))));
}

const channels = (nowUs) => [
  { name: "From", class: "left grow", cell: (c) => [address(c.peer.address), h("span", { class: "note" }, device(c.peer.device) || null)] },
  { name: "Channel", class: "left wide", cell: (c) => [protocol(c.peer.protocol), h("span", { class: "note" }, `${c.kind} channel ${c.id}`)] },
  { name: "State", class: "left", cell: (c) => state(c.state) },
  { name: "Hash rate", cell: speed },
  { name: "Share difficulty", class: "wide", cell: (c) => difficulty(c.share_work) },
  { name: "Refused", class: "wide", cell: (c) => whole(c.rejected) },
  { name: "Last share", class: "wide", cell: (c) => ago(c.last_share_us, nowUs) },
];

function silence(w, nowUs) {
  const since = w.last_share_us ?? w.since_us;
  return h("div", { class: "call", role: "note" }, h("strong", null, `Connected, but no share for ${duration((nowUs - since) / 1000)}.`),
    " Look whether the device hashes at all, and whether it counts shares itself: then its firmware reads the target wrongly, or it mines elsewhere. A restart of the device often helps.");
}
