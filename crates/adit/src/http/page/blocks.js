// Blocks that were found, one of them, and what the next one would pay.

import { card, facts, h, leaf, link, put, table } from "./dom.js";
import { every, listen } from "./live.js";
import { FATES, ago, bitcoin, difficulty, percent, sats, when, whole } from "./words.js";
import { fate } from "./home.js";
import { named } from "./workers.js";

const PER_PAGE = 50;

export function blocks(main, signal) {
  const list = h("section", { class: "card" });
  const rows = h("div");
  const pages = h("div", { class: "pages" });
  let nowUs = Date.now() * 1000;
  let page = 1;
  list.append(rows, pages);
  main.append(h("div", { class: "title" }, h("h1", null, "Blocks"), h("p", null, "What our miners found, the highest first.")), list);
  listen(({ status }) => { if (status) nowUs = status.taken_at_us; }, signal);
  const go = (to) => { page = to; ask(); };
  const ask = every(4000, () => `/api/v1/blocks?page=${page}&per_page=${PER_PAGE}`, (found) => {
    put(rows, found.length ? table("Blocks", [
      { name: "Height", class: "left", cell: (b) => link(`/block/${b.hash}`, whole(b.height)) },
      { name: "State", class: "left", cell: (b) => [fate(b.fate), b.confirmations > 0 && h("span", { class: "note" }, confirmations(b))] },
      { name: "Found by", class: "left grow wide", cell: (b) => (b.worker ? named(b.worker) : "\u2013") },
      { name: "Pays", class: "wide", cell: (b) => (b.value_sat === null ? "\u2013" : bitcoin(b.value_sat)) },
      { name: "Found", cell: (b) => ago(b.at_us, nowUs) },
    ], found) : h("p", { class: "empty" }, page > 1 ? "No more." : "None yet. The overview says how long one takes at this hash rate."));
    leaf(pages, page, found.length === PER_PAGE, go);
  }, signal);
}

// What makes a block final is what stands on it.
const confirmations = (b) => (b.confirmations === 1 ? "1 confirmation" : `${whole(b.confirmations)} confirmations`);

export function block(main, signal, hash) {
  const body = h("div");
  main.append(body);
  every(4000, `/api/v1/blocks/${encodeURIComponent(hash)}`, (b) => {
    const [, , meaning] = FATES[b.fate] ?? ["", "", ""];
    put(body, h("div", { class: "title" }, h("h1", null, `Block ${whole(b.height)}`), fate(b.fate), h("p", null, meaning)),
      card("w12", null, facts([
        ["Hash", h("span", { class: "mono" }, b.hash)],
        ["Found", when(b.at_us)],
        ["Found by", b.worker ? named(b.worker) : "not known any more"],
        ["Pays", b.value_sat === null ? "not known here" : bitcoin(b.value_sat)],
        ["Confirmations", b.confirmations ? whole(b.confirmations) : null],
        ["The node said", b.reason],
      ])));
  }, signal, (refused) => put(body, h("div", { class: "title" }, h("h1", null, "Block")),
    h("section", { class: "card" }, h("p", null, refused.message), h("p", null, link("/blocks", "All blocks")))));
}

export function coinbase(main, signal) {
  const body = h("div");
  main.append(h("div", { class: "title" }, h("h1", null, "Next block"),
    h("p", null, "The coinbase that is mined at this moment. Every miner\u2019s differs in its extranonce only.")), body);
  every(4000, "/api/v1/coinbase", (c) => put(body, h("div", { class: "grid" },
    card("w7", "Who is paid", table("Outputs", [
      { name: "To", class: "left grow", cell: (o) => [o.address ? h("span", { class: "mono" }, o.address) : purpose(o), o.value_sat ? bar(o.part) : h("span", { class: "note mono" }, o.script)] },
      { name: "Part", class: "wide", cell: (o) => (o.value_sat ? percent(o.part) : "") },
      { name: "Amount", cell: (o) => (o.value_sat ? [bitcoin(o.value_sat), h("span", { class: "note" }, sats(o.value_sat))] : "nothing") },
    ], c.outputs)),
    card("w5 lone", "Block", facts([
      ["Height", whole(c.height)],
      ["Pays in all", bitcoin(c.value_sat)],
      ["Of that fees", c.fees_sat === null ? "not known" : sats(c.fees_sat)],
      ["Transactions", c.transactions === null ? "not known" : whole(c.transactions)],
      ["Difficulty", difficulty(c.block_work)],
      ["Builds on", h("span", { class: "mono" }, c.prev_hash)],
      ["Given by", c.upstream],
    ])),
    card("w12", "What is written into it", facts([
      ["Tag", c.tag || "none (coinbase.tag sets one)"],
      ["scriptSig", h("span", { class: "mono" }, c.script_sig)],
      ["Size", `${whole(c.bytes)} bytes`],
    ])))), signal, (refused) => put(body, h("section", { class: "card" }, h("p", null, `${refused.message}. ${refused.help}`))));
}

function purpose(output) {
  return output.purpose === "commitment" ? "Commitment to the witness data" : output.purpose === "payout" ? "A script without an address" : "Data";
}

function bar(part) {
  const fill = h("i");
  fill.style.width = `${Math.max(0.5, part * 100)}%`;
  return h("div", { class: "bar", "aria-hidden": "true" }, fill);
}
