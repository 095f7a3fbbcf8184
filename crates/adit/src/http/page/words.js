// Numbers and facts in words.

// The first letter of a sentence.
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const whole = (number) => Number(number).toLocaleString("en");

export function scaled(number, unit) {
  const prefixes = ["", "k", "M", "G", "T", "P", "E", "Z"];
  let value = Number(number);
  let at = 0;
  while (value >= 999.5 && at < prefixes.length - 1) { value /= 1000; at += 1; }
  const digits = value >= 100 || (at === 0 && Number.isInteger(value)) ? 0 : value >= 10 || at === 0 ? 1 : 2;
  return `${value.toFixed(digits)} ${prefixes[at]}${unit}`.trimEnd();
}

export const rate = (hashes) => scaled(hashes, "H/s");

// What luck may have done to an estimate: one standard deviation.
export function error(part) {
  if (part === null || part === undefined) return "";
  const percent = part * 100;
  return `\u00b1 ${percent < 1 ? percent.toFixed(1) : percent.toFixed(0)} %`;
}

// Work in hashes as difficulty, the unit that miners know; as hashes where that is next to nothing.
export function difficulty(work) {
  const units = Number(work) / 2 ** 32;
  if (units >= 1) return scaled(units, "");
  if (units >= 0.001) return units.toPrecision(2);
  return `${scaled(work, "")} ${Number(work) === 1 ? "hash" : "hashes"}`;
}

export function duration(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60 && s < 600 ? `${s % 60} s` : ""}`.trimEnd();
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  const days = s / 86400;
  if (days < 365) return days < 30 ? `${Math.floor(days)} d ${Math.floor(s / 3600) % 24} h` : `${Math.round(days)} days`;
  const years = days / 365.25;
  return years < 1e6 ? `${years < 10 ? years.toFixed(1) : whole(Math.round(years))} years` : `${scaled(years, "")} years`;
}

export function micros(us) {
  if (us < 1000) return `${us} \u00b5s`;
  return us < 1e6 ? `${(us / 1000).toFixed(us < 1e4 ? 1 : 0)} ms` : `${(us / 1e6).toFixed(1)} s`;
}

export const ago = (us, nowUs) => (us ? `${duration((nowUs - us) / 1000)} ago` : "never");

export function when(us) {
  return new Date(us / 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

export const bitcoin = (sat) => `${(Number(sat) / 1e8).toFixed(8)} BTC`;
export const sats = (sat) => `${whole(Math.round(sat))} sat`;

export function percent(part) {
  const value = part * 100;
  if (value === 0) return "0 %";
  if (value < 0.01) return `1 in ${round(1 / part)}`;
  return `${value >= 10 ? value.toFixed(0) : value >= 0.1 ? value.toFixed(1) : value.toFixed(3)} %`;
}

// Two digits that mean something, written out as long as that can be read.
function round(number) {
  if (number >= 1e6) return new Intl.NumberFormat("en", { notation: "compact", compactDisplay: "long" }).format(number);
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(number)) - 1);
  return whole(Math.round(number / unit) * unit);
}

// A name as long as it needs to be told apart: addresses keep their ends. The whole name is in the title.
export function short(name) {
  const dot = name.indexOf(".");
  const account = dot < 0 ? name : name.slice(0, dot);
  if (account.length <= 22 || !/^[a-z0-9]+$/i.test(account)) return name;
  return `${account.slice(0, 8)}\u2026${account.slice(-6)}${dot < 0 ? "" : name.slice(dot)}`;
}

export const PROTOCOLS = {
  current: "Stratum V2",
  "draft2022-chachapoly": "Stratum V2 (2022 draft)",
  "draft2022-aesgcm": "Stratum V2 (2022 draft)",
  plain: "Stratum V2, not encrypted",
  "stratum-v1": "Stratum V1",
  "stratum-v1-tls": "Stratum V1 over TLS",
};
export const protocol = (name) => PROTOCOLS[name] ?? name;

export const STATES = {
  mining: "Mining",
  starting: "Starting",
  silent: "Silent",
  offline: "Offline",
};

export const FATES = {
  pending: ["Pending", "info", "The node has not answered yet; it is sent again until it does."],
  accepted: ["Accepted", "good", "The node took it. It counts once other blocks build on it."],
  confirmed: ["In the chain", "good", "It is in the best chain. Its reward can be spent after 100 confirmations."],
  stale: ["Orphaned", "warn", "Another block has its place in the chain, so that it pays nothing."],
  rejected: ["Refused", "bad", "The node refused it."],
  upstream: ["Sent up", "good", "It went to the upstream that gave the job; they publish it."],
};

export function device(it) {
  if (!it) return "";
  const name = [it.vendor, it.model].filter(Boolean).join(" ");
  return [name, it.firmware].filter(Boolean).join(", ");
}

// An address that may be broken before its port.
export function address(text) {
  const at = text.lastIndexOf(":");
  return [text.slice(0, at), document.createElement("wbr"), text.slice(at)];
}

// Why upstreams are left.
export const CAUSES = {
  unreachable: "not reached",
  refused: "refused us",
  lost: "connection lost",
  moved: "sent us elsewhere",
  silent: "stopped answering",
  "no-token": "gave no token",
  "declaration-unanswered": "did not answer a declared job",
  "declaration-refused": "refused a declared job",
  "job-unanswered": "did not answer a job",
  "job-refused": "refused a job",
  "shares-refused": "refused good shares",
  misbehaved: "broke the protocol",
};
