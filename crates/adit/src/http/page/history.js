// What outlives the process: the books.

import { card, facts, h, put, table } from "./dom.js";
import { every, withBooks } from "./live.js";
import { ago, bitcoin, difficulty, whole, when } from "./words.js";
import { why } from "./home.js";
import { named } from "./workers.js";
import { hashRateChart } from "./chart.js";

const DAY_S = 86400;
const EVERY_MS = 15000;

export function history(main, signal) {
  const chart = hashRateChart(signal, undefined, 30 * DAY_S);
  const [sums, best, rejects, accounts, payouts] = [h("div"), h("div"), h("div"), h("div"), h("div")];
  const paid = card("w12", "Payouts", payouts);
  paid.hidden = true;
  main.append(h("div", { class: "title" }, h("h1", null, "History"),
    h("p", null, "Counted from the journal of accepted shares, whatever was restarted meanwhile.")), h("div", { class: "grid" },
    h("section", { class: "card w12 tall" }, h("div", { class: "head" }, h("h2", null, "Hash rate"), chart.spans), chart.figure),
    card("w12", "In all", sums),
    card("w6", "Best shares of 30 days", best),
    card("w6", "Refused shares of 30 days", rejects),
    card("w12", "Who has mined here", accounts),
    paid));
  withBooks(() => {
    every(EVERY_MS, "/api/v1/books", (all) => put(sums, totals(all, [["Database", all.place], ["Front ends", all.front_ends > 1 ? whole(all.front_ends) : null]])), signal,
      (refused) => put(sums, h("p", { class: "empty" }, `${refused.message}. ${refused.help}`)));
    every(EVERY_MS, "/api/v1/books/best-shares?per_page=8", (rows) => put(best, bestShares(rows, true)), signal);
    every(EVERY_MS, "/api/v1/books/rejects", (rows) => put(rejects, refused(rows)), signal);
    every(EVERY_MS, "/api/v1/books/accounts?per_page=20", (rows) => put(accounts, rows.length ? table("Accounts with the most work", [
      { name: "Account", class: "left grow", cell: (a) => named(a.name) },
      { name: "Shares", class: "wide", cell: (a) => whole(a.shares) },
      { name: "Work", cell: (a) => difficulty(a.work) },
      { name: "Refused", class: "wide", cell: (a) => whole(a.rejected) },
      { name: "Best", class: "wide", cell: (a) => (a.best_work ? difficulty(a.best_work) : "\u2013") },
      { name: "Blocks", cell: (a) => whole(a.blocks) },
      { name: "Last share", class: "wide", cell: (a) => ago(a.last_share_us, Date.now() * 1000) },
    ], rows) : h("p", { class: "empty" }, "Nobody yet.")), signal);
    every(EVERY_MS, "/api/v1/books/payouts?per_page=20", (rows) => {
      paid.hidden = !rows.length;
      put(payouts, table("Payouts", [
        { name: "To", class: "left grow", cell: (p) => named(p.name) },
        { name: "State", class: "left", cell: (p) => p.state },
        { name: "Amount", cell: (p) => bitcoin(p.value_sat) },
        { name: "Since", class: "wide", cell: (p) => when(p.changed_us) },
      ], rows));
    }, signal);
  }, () => put(sums, h("p", { class: "empty" }, "No database is kept here, so that only what happened since the start is known. Set books.db for more.")), signal);
}

// Sums of the pool or of a name.
export function totals(all, more = []) {
  return facts([
    ["Shares", whole(all.shares)],
    ["Work", `${difficulty(all.work)} in difficulty`],
    ["Refused", whole(all.rejected)],
    ["Best share", all.best_work ? difficulty(all.best_work) : "none"],
    ["Blocks", whole(all.blocks)],
    ["Paid", all.paid_sat ? bitcoin(all.paid_sat - all.unpaid_sat) : null],
    ["First share", all.first_share_us ? when(all.first_share_us) : "none"],
    ["Last share", all.last_share_us ? when(all.last_share_us) : null],
    ...more,
  ], "stats");
}

export function bestShares(rows, names) {
  return rows.length ? table("Best shares", [
    { name: "Difficulty", class: "left", cell: (b) => difficulty(b.work) },
    ...(names ? [{ name: "By", class: "left grow", cell: (b) => named(b.name) }] : []),
    { name: "Height", class: "wide", cell: (b) => whole(b.height) },
    { name: "Found", class: "wrap", cell: (b) => when(b.at_us) },
  ], rows) : h("p", { class: "empty" }, "None yet.");
}

export function refused(rows) {
  const all = rows.reduce((sum, one) => sum + one.count, 0);
  return rows.length ? rows.slice(0, 6).map((one) => why(one, all)) : h("p", { class: "empty" }, "None.");
}
