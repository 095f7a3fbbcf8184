// Who is paid: the next block line by line, and what the coinbase of every single channel pays.

import { card, facts, h, leaf, link, put, table } from "./dom.js";
import { every } from "./live.js";
import { bitcoin, difficulty, percent, sats, sentence, whole } from "./words.js";

const PER_PAGE = 50;
const ROLES = { pool: "the pool", donation: "a donation", miner: "" };
const PURPOSES = {
  you: "the owner of this channel",
  pool: "the pool",
  donation: "a donation",
  miner: "another miner",
  commitment: "commitment to the witness data",
  other: "",
};
const PLANS = {
  pooled: "shared by all who mined lately",
  "pooled-small": "shared by all who mined lately, in a short coinbase for a small device",
  solo: "all to the owner of this channel",
};

export function payouts(main, signal) {
  const next = h("div", { class: "grid" });
  const list = h("div");
  const pages = h("div", { class: "pages" });
  let page = 1;
  main.append(h("div", { class: "title" }, h("h1", null, "Payouts"), h("p", null, "What the next block would pay, and to whom.")), next,
    h("section", { class: "card past" }, h("h2", null, "What each channel mines for"),
      h("p", { class: "note" }, "The coinbase that a device hashes at this moment, decoded: whether its owner is in it."), list, pages));
  every(4000, "/api/v1/payouts/next", (it) => put(next, it ? preview(it)
    : card("w12", "Line by line", h("p", { class: "empty" }, "Nothing is split up here: each channel below says whom it pays."))), signal);
  const go = (to) => { page = to; ask(); };
  const ask = every(4000, () => `/api/v1/proofs?page=${page}&per_page=${PER_PAGE}`, (rows) => {
    put(list, rows.length ? table("Channels", [
      { name: "Owner", class: "left grow", cell: (row) => row.user || "(no name)" },
      { name: "Channel", class: "wide", cell: (row) => h("span", { class: "mono" }, row.channel) },
      { name: "Coinbase", cell: (row) => link(`/proof/${row.channel}`, "Show") },
    ], rows) : h("p", { class: "empty" }, page > 1 ? "No more." : "Nobody mines on a coinbase of ours now."));
    leaf(pages, page, rows.length === PER_PAGE, go);
  }, signal);
}

function preview(it) {
  return [
    card("w4", "Next block", facts([
      ["Height", it.height ? whole(it.height) : "not known yet"],
      ["Pays in all", bitcoin(it.value_sat)],
      ["Fee of the pool", `${(it.fee_bp / 100).toFixed(2)} %`],
      ["Window", `difficulty ${difficulty(it.window)}, the newest work`],
      ["Work in it", difficulty(it.work)],
      ["Snapshot", whole(it.snapshot)],
    ])),
    card("w8", "Line by line", table("Line by line", [
      { name: "To", class: "left grow", cell: (line) => [h("span", { class: "mono" }, line.name), h("span", { class: "note" }, ROLES[line.role] || null)] },
      { name: "Work", class: "wide", cell: (line) => (line.weight === "0" ? "\u2013" : difficulty(line.weight)) },
      { name: "Earns", class: "wide", cell: (line) => sats(line.earned_sat) },
      { name: "Waited", class: "wide", cell: (line) => (line.carry_sat ? sats(line.carry_sat) : "\u2013") },
      { name: "Output", cell: (line) => (line.output_sat ? bitcoin(line.output_sat) : "none") },
      { name: "Waits then", class: "wide", cell: (line) => (line.left_sat ? sats(line.left_sat) : "\u2013") },
    ], it.lines)),
  ];
}

export function proof(main, signal, channel) {
  const body = h("div");
  main.append(body);
  every(4000, `/api/v1/proofs/${encodeURIComponent(channel)}`, (it) => put(body,
    h("div", { class: "title" }, h("h1", null, it.user || "(no name)"), h("p", null, sentence(it.says))),
    h("div", { class: "grid" },
      card("w8", "Who is paid", table("Outputs", [
        { name: "To", class: "left grow", cell: (o) => [h("span", { class: "mono" }, o.address ?? o.script), h("span", { class: "note" }, PURPOSES[o.purpose] || null)] },
        { name: "Part", class: "wide", cell: (o) => (o.value_sat ? `${o.percent} %` : "") },
        { name: "Amount", cell: (o) => (o.value_sat ? [bitcoin(o.value_sat), h("span", { class: "note" }, sats(o.value_sat))] : "nothing") },
      ], it.outputs)),
      card("w4", "For the owner", facts([
        ["Address", it.address && h("span", { class: "mono" }, it.address)],
        ["Is paid", it.pays_you ? `${bitcoin(it.yours_sat)}, ${percent(it.template.value_sat ? it.yours_sat / it.template.value_sat : 0)}` : "nothing by this coinbase"],
        ["Waits for a later block", it.waits_sat ? sats(it.waits_sat) : null],
        ["The coinbase is", PLANS[it.plan]],
      ])),
      card("w12", "What it works on", facts([
        ["Height", whole(it.template.height)],
        ["Builds on", h("span", { class: "mono" }, it.template.prev_hash)],
        ["Pays in all", bitcoin(it.template.value_sat)],
        ["Of that fees", sats(it.template.fees_sat)],
        ["Other transactions", it.template.merkle_branches ? `yes, ${whole(it.template.merkle_branches)} branches of the Merkle tree` : "none"],
        ["Channel", `${it.kind} channel ${it.channel_id}, ${it.channel}`],
      ])),
      card("w12", "To check it yourself", facts([
        ["Tag", it.tag || "none"],
        ["scriptSig", h("span", { class: "mono" }, it.script_sig)],
        ["Rolled by the device", `the last ${whole(it.rolled_bytes)} bytes of it, zeros here`],
        ["Coinbase", h("span", { class: "mono" }, it.coinbase)],
        ["SHA-256 of all this", h("span", { class: "mono" }, it.sha256)],
      ]), h("p", { class: "note" }, link(`/api/v1/proofs/${encodeURIComponent(it.channel)}`, "The same as JSON"))))), signal,
  (refused) => put(body, h("div", { class: "title" }, h("h1", null, "Coinbase of a channel")),
    h("section", { class: "card" }, h("p", null, refused.message), h("p", null, link("/payouts", "All channels")))));
}
