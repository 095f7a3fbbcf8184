// What to type into a miner.

import { copyable, h, put } from "./dom.js";

const NAMES = {
  "stratum-v2": ["Stratum V2", "Encrypted. A device that knows the key talks to no other pool."],
  "stratum-v1": ["Stratum V1", "For older miners. Not encrypted: use it on networks that you trust."],
  "stratum-v1-tls": ["V1 + TLS", "For older miners that can encrypt."],
  "stratum-v2-draft2022": ["V2 draft", "For devices that speak the 2022 draft of Stratum V2."],
};
const ORDER = Object.keys(NAMES);

// A pool that listens everywhere is reached by the name that reached this page.
function urlOf(endpoint) {
  if (endpoint.host) return endpoint.url;
  const key = endpoint.key ? `/${endpoint.key}` : "";
  return `${endpoint.url.split("://")[0]}://${location.hostname}:${endpoint.port}${key}`;
}

export function connectCard() {
  const tabs = h("div", { class: "tabs", role: "group", "aria-label": "Kind of miner" });
  const body = h("div", { class: "connect" });
  let endpoints = [];
  let chosen = "stratum-v2";
  let shown = "";

  const field = (label, text) => h("div", { class: "field" }, h("span", { class: "note" }, label), copyable(text, label));
  const draw = () => {
    const it = endpoints.find((one) => one.kind === chosen) ?? endpoints[0];
    if (!it) return;
    const host = it.host || location.hostname;
    const v1 = it.kind.startsWith("stratum-v1");
    put(tabs, endpoints.map((one) => h("button", {
      type: "button", "aria-pressed": String(one === it), onclick: () => { chosen = one.kind; draw(); },
    }, NAMES[one.kind]?.[0] ?? one.kind)));
    body.replaceChildren(
      h("div", null,
        field(v1 ? "URL" : "URL with the pool\u2019s key", urlOf(it)),
        field(it.key ? "Or apart: host and port" : "Or apart", `${host}:${it.port}`),
        it.key && field("and key", it.key)),
      h("div", { class: "qr" }, h("img", { src: `/api/v1/qr.svg?endpoint=${it.kind}`, alt: `QR code of ${urlOf(it)}`, width: 136, height: 136 })),
      h("div", { class: "all" },
        h("p", { class: "note" }, h("b", null, "User: "), "your payout address, or any name; add .worker for each machine."),
        h("p", { class: "note" }, h("b", null, "Password: "), v1 ? "x, or d=1024 for a difficulty of your own." : "none."),
        h("p", { class: "note" }, NAMES[it.kind]?.[1] ?? "")),
    );
  };
  const show = (status) => {
    const now = JSON.stringify(status.pool.endpoints);
    if (now === shown) return;
    shown = now;
    endpoints = [...status.pool.endpoints].sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
    draw();
  };
  return { card: h("section", { class: "card w5 lone" }, h("h2", null, "Connect a miner"), tabs, body), show };
}
