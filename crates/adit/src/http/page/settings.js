// The settings in force.

import { h, put } from "./dom.js";
import { get } from "./live.js";

export async function settings(main, signal) {
  const list = h("div");
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
    h("section", { class: "card" }, h("div", { class: "tools" }, search, which), list));
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
  } catch (error) {
    if (!signal.aborted) put(list, h("p", { class: "empty" }, error.message));
  }
}
