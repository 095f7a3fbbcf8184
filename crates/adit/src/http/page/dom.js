// Elements without markup: text only ever goes in as text, so no name that a miner chose can become anything else.

export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

// Puts new content where it differs from what is there, so that a selection or a focus elsewhere stays.
export function put(node, ...children) {
  const fresh = document.createDocumentFragment();
  fresh.append(...children.flat(3).filter((child) => child !== undefined && child !== null && child !== false));
  if (fresh.childNodes.length !== node.childNodes.length) {
    node.replaceChildren(fresh);
    return node;
  }
  [...fresh.childNodes].forEach((child, at) => {
    const old = node.childNodes[at];
    if (!child.isEqualNode(old)) old.replaceWith(child);
  });
  return node;
}

export function card(width, heading, ...content) {
  return h("section", { class: `card ${width}` }, heading && h("h2", null, heading), ...content);
}

// Rows of name and value; rows without a value are left out.
export function facts(rows, kind = "facts") {
  const shown = rows.filter(([, value]) => value !== undefined && value !== null && value !== "");
  const pairs = shown.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]);
  return h("dl", { class: kind }, kind === "stats" ? pairs.map((pair) => h("div", null, pair)) : pairs);
}

// Names and values side by side.
export function row(rows) {
  return h("dl", { class: "row" }, rows.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

// Columns are {name, cell, class, sort}; `order` is {sort, set} where columns can be sorted.
export function table(caption, columns, rows, order) {
  const heading = (column) => {
    if (!order || !column.sort) return h("th", { class: column.class, scope: "col" }, column.name);
    const down = order.sort === `-${column.sort}`;
    const up = order.sort === column.sort;
    const next = down ? column.sort : `-${column.sort}`;
    return h("th", { class: column.class, scope: "col", "aria-sort": down ? "descending" : up ? "ascending" : null },
      h("button", { type: "button", "data-sort": column.sort, onclick: () => order.set(next) }, column.name, down ? " \u2193" : up ? " \u2191" : ""));
  };
  return h("table", { "aria-label": caption },
    h("thead", null, h("tr", null, columns.map(heading))),
    h("tbody", null, rows.map((line) => h("tr", null, columns.map((column) => h("td", { class: column.class }, column.cell(line)))))));
}

// Buttons to the page before and after, where nobody knows how many there are.
export function leaf(node, page, more, go) {
  put(node, page > 1 || more ? [h("span", null, `Page ${page}`), h("span", null,
    h("button", { class: "button", type: "button", disabled: page <= 1, onclick: () => go(page - 1) }, "Back"),
    h("button", { class: "button", type: "button", disabled: !more, onclick: () => go(page + 1) }, "More"))] : []);
}

export function link(href, ...content) {
  return h("a", { href }, ...content);
}

export function copyable(text, label) {
  const button = h("button", { type: "button", "aria-label": `Copy ${label}` }, "Copy");
  const code = h("code", { tabindex: "0", "aria-label": label, role: "textbox", "aria-readonly": "true" }, text);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // The clipboard needs a secure context; the selection does not.
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  return h("div", { class: "copy" }, code, button);
}
