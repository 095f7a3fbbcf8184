// The first page: is all well, and what is to be seen at a glance.

import { card, facts, h, link, put, row, table } from "./dom.js";
import { every, listen, withBooks } from "./live.js";
import { CAUSES, FATES, ago, bitcoin, difficulty, duration, error, micros, percent, rate, sats, short, whole } from "./words.js";
import { connectCard } from "./connect.js";
import { hashRateChart } from "./chart.js";
import { COLUMNS, named } from "./workers.js";

const DAY_S = 86400;

export function home(main, signal) {
  const parts = {};
  const part = (name, tag = "div", props) => (parts[name] = h(tag, props));
  const chart = hashRateChart(signal);
  const connect = connectCard();
  let nowUs = 0;
  let counts = false;
  let working = null;
  let ever = null;
  main.append(h("h1", { class: "skip" }, "Overview"), h("div", { class: "grid" },
    h("section", { class: "card w7 tall" },
      h("div", { class: "head" }, h("h2", null, "Hash rate"), chart.spans), part("rate"), chart.figure),
    connect.card,
    part("uplink", "section", { class: "card w12", hidden: true }),
    part("fleet", "section", { class: "card w12", hidden: true }),
    card("w3", "Shares", part("shares")),
    card("w3", "Best share", part("best")),
    card("w3", "Next block", part("next")),
    card("w3", "Blocks found", part("blocks")),
    h("section", { class: "card w8" }, h("div", { class: "head" }, h("h2", null, "Workers"), link("/workers", "All workers")), part("workers")),
    card("w4 lone", "Last shares", part("recent", "ul", { class: "recent" })),
    card("w6", "Refused shares", part("rejects")),
    card("w6", "Bitcoin node", part("node")),
    card("w12", "How fast this pool is", part("pool")),
  ));

  listen(({ status, shares }) => {
    if (status) {
      nowUs = status.taken_at_us;
      if (counts !== Boolean(status.accountant)) {
        counts = !counts;
        if (working) showWorkers(working);
      }
      connect.show(status);
      showStatus(status);
    }
    if (shares) showRecent(shares);
  }, signal);
  every(5000, "/api/v1/workers?per_page=8", showWorkers, signal);
  every(10000, "/api/v1/rejects", showRejects, signal);
  // Without a database nobody knows what was before the start.
  withBooks(() => every(30000, "/api/v1/books", (books) => { ever = books; }, signal), null, signal);

  function showStatus(s) {
    const { hash_rate: r, shares: n } = s;
    put(parts.rate,
      h("p", { class: "big" }, rate(r["10m"]), " ", h("small", { title: "How far luck may have moved the estimate (one standard deviation)" }, error(r.error["10m"]))),
      row([["1 min", rate(r["1m"])], ["1 h", rate(r["1h"])], ["24 h", rate(r["24h"])]]));
    const recent = n.accepted_10m + n.rejected_10m;
    put(parts.shares, h("p", { class: "big" }, whole(n.accepted)),
      h("p", { class: "note" }, `${whole(n.rejected)} refused in all`),
      h("p", { class: "note" }, recent ? `${percent(n.rejected_10m / recent)} refused in 10 min` : "none in the last 10 min"));
    showBest(s);
    showNext(s);
    showBlocks(s);
    showUplink(s);
    showFleet(s);
    showNode(s);
    showPool(s);
  }

  function showBest(s) {
    const best = s.best_share;
    put(parts.best, h("p", { class: "big" }, best ? difficulty(best.work) : "\u2013"),
      best ? [h("p", { class: "note" }, "by ", best.worker ? named(best.worker) : "somebody", `, ${ago(best.at_us, nowUs)}`),
        s.node.block_work ? h("p", { class: "note" }, Number(best.work) >= Number(s.node.block_work) ? "good enough for a block" : `${percent(Number(best.work) / Number(s.node.block_work))} of a block`) : null]
        : h("p", { class: "note" }, "difficulty; none has come yet"),
      ever && Number(ever.best_work) > Number(best?.work ?? 0) ? h("p", { class: "note" }, link("/history", `best ever ${difficulty(ever.best_work)}`)) : null);
  }

  function showNext(s) {
    const hashes = s.hash_rate["1h"] || s.hash_rate["10m"];
    const work = Number(s.node.block_work);
    if (!hashes || !work) {
      put(parts.next, h("p", { class: "big" }, "\u2013"), h("p", { class: "note" }, work ? "no hash rate to expect a block from" : "no template yet"));
      return;
    }
    const seconds = work / hashes;
    const today = 1 - Math.exp(-DAY_S / seconds);
    const value = s.uplink?.upstream ? null : s.node.block_value_sat;
    put(parts.next, h("p", { class: "big" }, duration(seconds * 1000)),
      h("p", { class: "note" }, "on average", seconds > DAY_S / 24 ? `; chance within a day ${percent(today)}` : ", give or take as much"),
      value ? h("p", { class: "note" }, link("/coinbase", `pays ${bitcoin(value)}`), seconds > 60 ? `, ${sats(value * DAY_S / seconds)} a day` : "") : null);
  }

  function showBlocks(s) {
    const b = s.blocks;
    const rest = [[b.rejected, "refused"], [b.pending, "pending"]].filter(([count]) => count).map(([count, what]) => `${whole(count)} ${what}`);
    put(parts.blocks, h("p", { class: "big" }, whole(b.found)),
      b.last ? [h("p", { class: "note" }, "last: ", link(`/block/${b.last.hash}`, `height ${whole(b.last.height)}`), `, ${ago(b.last.at_us, nowUs)}`),
        h("p", { class: "note" }, b.last.worker ? ["by ", named(b.last.worker)] : "", rest.length ? ` (${rest.join(", ")})` : "")]
        : h("p", { class: "note" }, "none yet"));
  }

  function showUplink(s) {
    const up = s.uplink;
    parts.uplink.hidden = !up;
    if (!up) return;
    const f = up.figures;
    const causes = Object.entries(up.causes).map(([cause, count]) => `${whole(count)} \u00d7 ${CAUSES[cause] ?? cause.replaceAll("-", " ")}`);
    put(parts.uplink, h("div", { class: "flow" },
      h("div", null, h("h2", null, "Devices"), h("p", { class: "big" }, rate(s.hash_rate["10m"])),
        row([["channels", whole(s.channels.standard + s.channels.extended)], ["accepted", whole(s.shares.accepted)], ["refused", whole(s.shares.rejected)]])),
      h("span", { "aria-hidden": "true" }, "\u2192"),
      h("div", null, h("h2", null, up.place === null ? "Upstream" : `Upstream, choice ${up.place + 1}`),
        h("p", { class: "big" }, up.upstream || "none: mining for ourselves"),
        row([["sent", whole(f.shares_sent)], ["accepted", whole(f.shares_accepted)], ["refused", whole(f.shares_refused)], ["too late", whole(f.shares_stale)], ["too easy for it", whole(f.shares_too_easy)]]),
        h("p", { class: "note" }, `Changed ${whole(Math.max(0, up.changes - 1))} times since the start`, causes.length ? `; left: ${causes.join(", ")}` : ""))));
  }

  function showFleet(s) {
    const all = s.accountant?.holders ?? s.fleet?.front_ends ?? [];
    parts.fleet.hidden = !all.length;
    if (!all.length) return;
    const lanes = s.accountant?.front_ends;
    const silent = s.accountant?.silent ?? [];
    const state = (it) => (it.stopped ? ["", "Stopped"] : silent.includes(it.front_end) ? ["bad", "No sign of life"] : ["good", "Runs"]);
    const counted = (it) => (lanes ? lanes[it.front_end]?.last ?? 0 : it.booked);
    const ours = (it) => !s.accountant && it.front_end === s.fleet.front_end;
    const columns = [
      { name: "Front end", class: "left grow", cell: (it) => [`${it.front_end}${ours(it) ? ", this one" : ""}`, h("span", { class: "note" }, it.host)] },
      { name: "State", class: "left", cell: (it) => { const [colour, text] = state(it); return h("span", { class: `state ${colour}` }, h("span", { class: "dot", "aria-hidden": "true" }), text); } },
      { name: "Hash rate", cell: (it) => rate(it.hash_rate) },
      { name: "Channels", class: "wide", cell: (it) => whole(it.channels) },
      { name: "Height", class: "wide", cell: (it) => (it.height ? whole(it.height) : "\u2013") },
      { name: "Not counted", class: "wide", cell: (it) => whole(Math.max(0, it.durable - counted(it))) },
    ];
    put(parts.fleet, h("h2", null, "Front ends"), table("Front ends of this pool", columns, all));
  }

  function showNode(s) {
    const n = s.node;
    if (n.spec === "none") {
      put(parts.node, h("p", { class: "empty" }, s.accountant
        ? `Each front end has its own. The highest block that one builds on is ${n.height ? whole(n.height) : "not known"}.`
        : "None is configured: jobs come from the upstream, and blocks go there."));
      return;
    }
    const state = { up: ["good", "Up"], starting: ["info", "Starting"], down: ["bad", "Down"] }[n.state];
    put(parts.node, facts([
      ["State", h("span", { class: state[0] }, state[1], n.reason ? `: ${n.reason}` : "", n.alarm ? `, but ${n.alarm}` : "")],
      ["Source", n.name ? `${n.name} (${n.spec})` : n.spec],
      ["Network", n.network],
      ["Height", whole(n.height)],
      ["Tip", h("span", { class: "mono" }, n.tip)],
      ["Template", n.template_age_ms === null ? "none yet" : `${duration(n.template_age_ms)} old${n.transactions === null ? "" : `, ${whole(n.transactions)} transactions`}${n.fees_sat === null ? "" : `, fees ${sats(n.fees_sat)}`}`],
      ["Difficulty", n.block_work ? difficulty(n.block_work) : null],
    ]));
  }

  function showPool(s) {
    const both = (latency) => (latency.count ? [micros(latency.p50_us), h("span", { class: "note" }, `99 of 100 in ${micros(latency.p99_us)}`)] : "\u2013");
    put(parts.pool, facts([
      ["Shares acknowledged in", both(s.ack_latency)],
      ["Written to disk in", s.ledger.state === "up" ? both(s.ledger.commit_latency) : s.ledger.reason],
      ["Jobs sent in", both(s.fan_out_latency)],
      ["Blocks handed in", both(s.blocks.submit_latency)],
      ["Connections", link("/peers", whole(s.connections.open))],
      ["Records on disk", whole(s.ledger.committed)],
    ], "stats"));
  }

  function showWorkers(page) {
    working = page;
    const columns = COLUMNS.filter((column) => column.short);
    put(parts.workers, page.items.length ? table("Workers with the most hash rate", columns.map((column) => ({ ...column, cell: (w) => column.cell(w, nowUs) })), page.items)
      : h("p", { class: "empty" }, counts ? "Devices are at the front ends; what they have done is in History."
        : "Nobody mines here yet. Type the URL above into a miner."));
  }

  function showRecent(shares) {
    put(parts.recent, shares.length ? shares.slice(0, 9).map((one) => h("li", null,
      h("span", { title: one.name }, short(one.name) || "somebody"),
      h("span", { class: "note" }, one.count > 1 ? `${whole(one.count)} shares, ` : "", `best ${difficulty(one.best_work)}, ${ago(one.at_us, nowUs)}`)))
      : h("li", { class: "empty" }, "No share yet."));
  }

  function showRejects(rejects) {
    const all = rejects.reduce((sum, one) => sum + one.count, 0);
    put(parts.rejects, rejects.length ? rejects.slice(0, 4).map((one) => why(one, all)) : h("p", { class: "empty" }, "None. Every share that came was good."));
  }
}

export function why(one, all) {
  return h("div", { class: "why" },
    h("b", null, one.cause || one.code), ` ${whole(one.count)} of ${whole(all)}`,
    h("p", { class: "note" }, one.cure, " ", h("span", { class: "mono" }, one.code)));
}

export function fate(name) {
  const [text, colour] = FATES[name] ?? [name, ""];
  return h("span", { class: `state ${colour}` }, h("span", { class: "dot", "aria-hidden": "true" }), text);
}
