// The hash rate over time: a picture drawn by adit, and the values under the pointer.

import { h, put } from "./dom.js";
import { every } from "./live.js";
import { error, rate, whole } from "./words.js";

const SPANS = [["1 h", 3600], ["6 h", 21600], ["24 h", 86400], ["7 d", 604800], ["30 d", 2592000], ["1 y", 31536000]];
const WEEK_S = 604800;
const REFRESH_MS = 15000;
const SHOWN_MIN_S = 600;
// Pixels of the picture beside the curve, as http/chart.rs has them.
const LEFT = 84;
const RIGHT = 12;

// The pool's, or that of a name.
export function hashRateChart(signal, name, first = 3600) {
  const image = h("img", { alt: "" });
  const cross = h("div", { class: "cross", hidden: true });
  const tip = h("div", { class: "tip", hidden: true });
  const figure = h("div", { class: "chart" }, image, cross, tip);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let seconds = first;
  let series = null;

  const draw = () => {
    if (signal.aborted || !figure.clientWidth || !figure.clientHeight) return;
    const query = new URLSearchParams({
      seconds, theme: dark.matches ? "dark" : "light", width: Math.min(2000, Math.max(240, figure.clientWidth)),
      height: Math.min(1000, Math.max(120, figure.clientHeight)), utc_offset: -new Date().getTimezoneOffset(),
    });
    const next = new Image();
    if (name !== undefined) query.set("name", name);
    const address = `/api/v1/chart/hash-rate.svg?${query}`;
    // The old picture stays until the new one is there.
    next.addEventListener("load", () => { image.src = next.src; });
    next.src = address;
  };
  const describe = () => {
    const points = series.points.filter((point) => point.accepted > 0);
    const rates = points.map((point) => point.hash_rate);
    const span = SPANS.find(([, of]) => of === seconds)[0];
    image.alt = rates.length
      ? `Hash rate over the last ${span}: from ${rate(Math.min(...rates))} to ${rate(Math.max(...rates))}, now ${rate(rates.at(-1))}.`
      : `No share in the last ${span}.`;
  };
  const path = () => {
    const query = new URLSearchParams({ seconds, points: 240 });
    if (name !== undefined) query.set("name", name);
    return `/api/v1/history?${query}`;
  };
  const ask = every(REFRESH_MS, path, (answer) => {
    series = answer;
    describe();
    draw();
  }, signal);

  const point = (event) => {
    const box = figure.getBoundingClientRect();
    const part = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    if (!series || part < 0 || part > 1) return hide();
    // A young pool is shown from its start, but ten minutes at least.
    const start = Math.min(series.points[0]?.start_s ?? series.now_s, series.now_s - SHOWN_MIN_S);
    const from = Math.max(series.now_s - seconds, start);
    const at = from + (series.now_s - from) * part;
    const found = series.points.find((one) => at >= one.start_s && at < one.start_s + one.seconds);
    if (!found) return hide();
    const day = seconds > WEEK_S ? { day: "numeric", month: "short" } : { weekday: "short" };
    const time = new Date(found.start_s * 1000).toLocaleString(undefined, { ...day, hour: "2-digit", minute: "2-digit" });
    put(tip, h("div", null, time), h("div", null, `${rate(found.hash_rate)} ${error(found.error)}`), h("div", null, `${whole(found.accepted)} shares`));
    cross.hidden = tip.hidden = false;
    const x = event.clientX - box.left;
    cross.style.left = `${x}px`;
    const right = x > box.width / 2;
    tip.style.left = right ? "auto" : `${x + 10}px`;
    tip.style.right = right ? `${box.width - x + 10}px` : "auto";
  };
  const hide = () => { cross.hidden = tip.hidden = true; };
  figure.addEventListener("pointermove", point);
  figure.addEventListener("pointerleave", hide);
  dark.addEventListener("change", draw, { signal });
  let width = 0;
  const sizes = new ResizeObserver(() => {
    if (Math.abs(figure.clientWidth - width) > 8) { width = figure.clientWidth; draw(); }
  });
  sizes.observe(figure);
  signal.addEventListener("abort", () => sizes.disconnect());

  const buttons = SPANS.map(([name, of]) => h("button", {
    type: "button", "aria-pressed": String(of === seconds), onclick: (event) => {
      seconds = of;
      for (const button of event.target.parentNode.children) button.setAttribute("aria-pressed", String(button === event.target));
      hide();
      ask();
    },
  }, name));
  return { figure, spans: h("div", { class: "tabs", role: "group", "aria-label": "Time shown" }, buttons) };
}
