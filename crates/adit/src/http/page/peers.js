// Who is connected.

import { h, put, table } from "./dom.js";
import { every, listen } from "./live.js";
import { address, ago, device, protocol, rate, whole } from "./words.js";
import { state, turn } from "./workers.js";

const ROLES = { mining: "Mining", "job-declaration": "Declares jobs", "job-distribution": "Receives jobs" };
const ORDER = ["mining", "starting", "silent", "offline"];
const PER_PAGE = 50;

export function peers(main, signal) {
  const list = h("div");
  const pages = h("div", { class: "pages" });
  const sums = h("p");
  let nowUs = Date.now() * 1000;
  let number = 1;
  main.append(h("div", { class: "title" }, h("h1", null, "Connections"), sums), h("section", { class: "card" }, list, pages));
  listen(({ status }) => {
    if (!status) return;
    nowUs = status.taken_at_us;
    const c = status.connections;
    put(sums, `${whole(c.open)} open, ${whole(c.accepted)} since the start; ${whole(c.refused)} turned away for a limit, ${whole(c.faulted)} ended for a fault of the peer.`);
  }, signal);
  const ask = every(4000, () => `/api/v1/peers?page=${number}&per_page=${PER_PAGE}`, (page) => {
    put(list, page.items.length ? table("Connections", [
      { name: "From", class: "left grow", cell: (p) => [address(p.address), h("span", { class: "note" }, device(p.device) || null)] },
      { name: "Speaks", class: "left wide", cell: (p) => [protocol(p.protocol), h("span", { class: "note" }, ROLES[p.role] ?? null)] },
      { name: "State", class: "left", cell: (p) => (p.channels.length ? state(liveliest(p)) : h("span", { class: "note" }, p.role === "mining" || !p.role ? "no channel" : "")) },
      { name: "Channels", class: "wide", cell: (p) => whole(p.channels.length) },
      { name: "Hash rate", cell: (p) => (p.channels.some((one) => one.accepted) ? rate(p.channels.reduce((sum, one) => sum + one.hash_rate, 0)) : "\u2013") },
      { name: "Refused", class: "wide", cell: (p) => whole(p.channels.reduce((sum, one) => sum + one.rejected, 0)) },
      { name: "Since", class: "wide", cell: (p) => ago(p.since_us, nowUs) },
    ], page.items) : h("p", { class: "empty" }, "Nobody is connected."));
    turn(pages, page, (next) => { number = next; ask(); });
  }, signal);
}

function liveliest(peer) {
  return peer.channels.map((one) => one.state).sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b))[0];
}
