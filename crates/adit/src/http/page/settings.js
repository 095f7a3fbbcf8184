// The settings in force.

import { h, put } from "./dom.js";
import { get, order } from "./live.js";

export async function settings(main, signal) {
  const list = h("div");
  const ways = h("span");
  let rows = [];
  let changed = false;
  let text = "";
  const search = h("input", { type: "search", placeholder: "Find a key", "aria-label": "Find a key", oninput: (event) => { text = event.target.value.trim().toLowerCase(); draw(); } });
  const which = h("div", { class: "tabs", role: "group", "aria-label": "Which" }, [["All", false], ["Changed", true]].map(([name, only]) => h("button", {
    type: "button", "aria-pressed": String(only === changed), onclick: (event) => {
      changed = only;
      for (const button of which.children) button.setAttribute("aria-pressed", String(button === event.target));
      draw();
    },
  }, name)));
  main.append(h("div", { class: "title" }, h("h1", null, "Settings"), h("p", null, "What is in force, and where each value comes from. Secrets are not shown. They are changed in the file, the environment or the command line.")),
    h("section", { class: "card" }, h("div", { class: "tools" }, search, which), list), operator(ways));
  const draw = () => {
    const shown = rows.filter((row) => (!changed || !row.is_default) && `${row.key} ${row.doc}`.toLowerCase().includes(text));
    put(list, shown.length ? shown.map((row) => h("div", { class: "why" },
      h("b", { class: "mono" }, row.key), " = ", h("span", { class: "mono" }, row.value || "(empty)"), row.unit ? ` ${row.unit}` : "",
      row.is_default ? null : h("span", { class: "info" }, ` from ${row.origin}`), h("p", { class: "note" }, row.doc)))
      : h("p", { class: "empty" }, changed ? "Nothing was changed: every key has its default." : "No such key."));
  };
  try {
    rows = await get("/api/v1/settings", signal);
    draw();
    const told = WAYS.filter((way) => rows.some((row) => row.key === `notify.${way}` && !row.is_default));
    ways.dispatchEvent(new CustomEvent("ways", { detail: told }));
  } catch (error) {
    if (!signal.aborted) put(list, h("p", { class: "empty" }, error.message));
  }
}

const WAYS = ["webhook", "ntfy", "telegram", "mail"];

// Orders to the running pool. The token is kept nowhere: it is gone with the page.
function operator(ways) {
  const token = h("input", { type: "password", autocomplete: "off", placeholder: "Token", "aria-label": "The operator\u2019s token", maxlength: 256 });
  const place = h("input", { type: "text", placeholder: "HOST:PORT, or as configured", "aria-label": "Where miners are sent to", maxlength: 300 });
  const said = h("p", { class: "note", role: "status" });
  const give = async (path, body, tell) => {
    put(said, "Asked\u2026");
    try {
      put(said, tell(await order(path, token.value.trim(), body)));
    } catch (error) {
      put(said, h("span", { class: "bad" }, `${error.message}${error.help ? ` (${error.help})` : ""}`));
    }
  };
  const button = (name, press) => h("button", { class: "button", type: "button", onclick: press }, name);
  const test = (way) => button(`Test ${way}`, () => give("/api/v1/admin/notify-test", { way }, (told) =>
    told.map((one) => `${one.way}: ${one.sent ? "sent" : one.reason}`).join("; ")));
  ways.addEventListener("ways", ({ detail }) => put(ways, detail.map(test)));
  const reload = button("Read the configuration again", () => give("/api/v1/admin/reload", {}, ({ changed, later }) =>
    `${changed.length ? `Changed: ${changed.join(", ")}.` : "Nothing has changed that can without a restart."}${later.length ? ` At the next start: ${later.join(", ")}.` : ""}`));
  const drain = button("Send all miners away and stop", () => {
    if (confirm("Every miner is sent away, and adit ends when they have left. Go on?")) {
      give("/api/v1/admin/drain", place.value.trim() ? { to: place.value.trim() } : {}, (taken) => taken.message);
    }
  });
  return h("section", { class: "card orders" }, h("h2", null, "Orders"),
    h("p", { class: "note" }, "They need the token that is in the file admin.token of the data folder."),
    h("div", { class: "tools" }, token, reload, ways), h("div", { class: "tools" }, place, drain), said);
}
