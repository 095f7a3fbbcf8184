// The live values: events where they come, questions once in a while where they do not.

const POLL_MS = 2000;
const SILENT_MS = 6000;
const listeners = new Set();
let last = null;
let heard = 0;

export class Refused extends Error {
  constructor(code, message, help) {
    super(message);
    this.code = code;
    this.help = help;
  }
}

export async function get(path, signal) {
  const limit = AbortSignal.timeout(8000);
  const answer = await fetch(path, { signal: signal ? AbortSignal.any([signal, limit]) : limit });
  const body = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, body.error?.message ?? `status ${answer.status}`, body.error?.help ?? "");
  return body;
}

// Orders need the operator's token.
export async function order(path, token, body) {
  const answer = await fetch(path, {
    method: "POST", signal: AbortSignal.timeout(60000), body: JSON.stringify(body ?? {}),
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
  });
  const said = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, said.error?.message ?? `status ${answer.status}`, said.error?.help ?? "");
  return said;
}

// Calls `tell` with {status} or {shares} or {lost} as they come, until `signal`.
export function listen(tell, signal) {
  listeners.add(tell);
  signal?.addEventListener("abort", () => listeners.delete(tell));
  if (last) tell({ status: last });
}

// Calls `start` once there is a database to ask; `without` while there is none.
export function withBooks(start, without, signal) {
  let started = false;
  listen(({ status }) => {
    if (!status || started) return;
    started = Boolean(status.books.place);
    if (started) start(); else without?.();
  }, signal);
}

function spread(news) {
  if (news.status) last = news.status;
  for (const tell of listeners) tell(news);
}

function hear(news) {
  heard = Date.now();
  spread(news);
}

function stream() {
  const events = new EventSource("/api/v1/events");
  events.addEventListener("status", (event) => hear({ status: JSON.parse(event.data) }));
  events.addEventListener("shares", (event) => hear({ shares: JSON.parse(event.data) }));
  // A browser comes back by itself, but not after it was refused.
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(stream, SILENT_MS);
  });
}

async function poll() {
  if (Date.now() - heard > SILENT_MS) {
    try {
      spread({ status: await get("/api/v1/status") });
      spread({ shares: await get("/api/v1/shares") });
    } catch (error) {
      spread({ lost: error instanceof Refused ? error.message : "it does not answer" });
    }
  }
  setTimeout(poll, POLL_MS);
}

export function start() {
  stream();
  get("/api/v1/status").then((status) => spread({ status }), () => {});
  setTimeout(poll, POLL_MS);
}

// Asks again and again until `signal`; `show` gets the answer, `fail` a refusal.
export function every(ms, path, show, signal, fail) {
  let timer = 0;
  const ask = async () => {
    clearTimeout(timer);
    try {
      const answer = await get(typeof path === "function" ? path() : path, signal);
      if (!signal.aborted) show(answer);
    } catch (error) {
      if (!signal.aborted && fail && error instanceof Refused) fail(error);
    }
    if (!signal.aborted) timer = setTimeout(ask, ms);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  ask();
  return ask;
}
