// The frame: one line that says how it is, and the page that the address names.

import { h, put } from "./dom.js";
import { listen, start } from "./live.js";
import { duration, rate, sentence } from "./words.js";
import { home } from "./home.js";
import { worker, workers } from "./workers.js";
import { block, blocks, coinbase } from "./blocks.js";
import { payouts, proof } from "./money.js";
import { peers } from "./peers.js";
import { history as past } from "./history.js";
import { settings } from "./settings.js";

const PAGES = [
  [/^\/$/, "Overview", home],
  [/^\/workers$/, "Workers", workers],
  [/^\/worker\/([^/]+)$/, "Worker", worker],
  [/^\/blocks$/, "Blocks", blocks],
  [/^\/block\/([^/]+)$/, "Block", block],
  [/^\/coinbase$/, "Next block", coinbase],
  [/^\/payouts$/, "Payouts", payouts],
  [/^\/proof\/([^/]+)$/, "Coinbase", proof],
  [/^\/history$/, "History", past],
  [/^\/peers$/, "Connections", peers],
  [/^\/settings$/, "Settings", settings],
];

const main = document.getElementById("main");
let leave = new AbortController();
let title = "adit";

function show(moved) {
  leave.abort();
  leave = new AbortController();
  const path = location.pathname;
  const found = PAGES.find(([pattern]) => pattern.test(path));
  main.replaceChildren();
  title = found ? found[1] : "No such page";
  if (found) {
    const [, name] = found[0].exec(path);
    found[2](main, leave.signal, name === undefined ? undefined : decodeURIComponent(name));
  } else {
    main.append(h("h1", null, "There is no such page"), h("p", null, h("a", { href: "/" }, "Overview")));
  }
  for (const link of document.querySelectorAll("nav a")) {
    const at = link.getAttribute("href");
    const here = at === path || (at === "/workers" && path.startsWith("/worker/")) || (at === "/blocks" && path.startsWith("/block/"))
      || (at === "/payouts" && path.startsWith("/proof/"));
    if (here) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  if (moved) { scrollTo(0, 0); main.focus(); }
}

// Going from page to page keeps the events flowing.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || link.origin !== location.origin || link.hash || link.target) return;
  if (!PAGES.some(([pattern]) => pattern.test(link.pathname))) return;
  event.preventDefault();
  if (link.href !== location.href) history.pushState(null, "", link.href);
  show(true);
});
addEventListener("popstate", () => show(false));

function light(colour, ...reason) {
  const line = document.getElementById("light");
  if (line.className !== `light ${colour}`) line.className = `light ${colour}`;
  put(document.getElementById("reason"), reason);
}

listen(({ status, lost }) => {
  if (lost) {
    light("red", `adit cannot be reached: ${lost}`);
    document.title = `! ${title} \u00b7 adit`;
  }
  if (!status) return;
  const { light: colour, reason } = status.health;
  const fine = status.uplink?.upstream ? `All is well: mining on ${status.uplink.upstream}` : "All is well: mining";
  // Only where nothing else is worse.
  const silent = status.silent > 0 && reason.includes("no share comes");
  light(colour, colour === "green" ? fine : sentence(reason), silent && [" ", h("a", { href: "/workers?state=silent" }, "Who")]);
  const hashes = status.hash_rate["10m"];
  document.title = `${colour === "green" ? "" : "! "}${rate(hashes)} \u00b7 ${title} \u00b7 adit`;
  put(document.getElementById("foot"), `adit ${status.version}, up ${duration(status.uptime_ms)}`);
});

show(false);
start();
