// What pages show of a worker, and what operators do to one.
import { can } from "./auth.js";
import { call } from "./api.js";
import { confirm, say } from "./dialog.js";
import { count, relative } from "./format.js";
import { html } from "./lib.js";
import { Status, useNow } from "./parts.js";
import { path } from "./router.js";

/** @param {any} worker Whether its worker's queues may all be operated on. */
export const mayDrain = (worker) =>
  !["DRAINING", "LOST"].includes(worker.state) && (worker.takes ?? []).length > 0 && worker.takes.every((/** @type {any} */ each) => can("OPERATE", each.queue));

/** Asks why, and drains it. @param {any} worker @returns {Promise<boolean>} */
export async function drain(worker) {
  const name = worker.name || worker.session_id;
  const done = await confirm({
    title: `Drain ${name}?`,
    text: "It gets no more jobs, finishes those that it has, and ends. What starts it again is up to its host.",
    ask: "Why",
    action: "Drain",
    run: (reason) => call(`v1/${path("workers", worker.session_id)}:drain`, { method: "POST", body: { reason } }),
  });
  if (done) say(`${name} drains.`);
  return done;
}

/** @param {{worker: any}} props Its state, and since when or until when. */
export function State({ worker }) {
  const now = useNow();
  const state = worker.state ?? "CONNECTED";
  if (state === "LOST") return html`<${Status} of="LOST" word=${`lost ${relative(worker.ends_at, now)}, ${count(worker.held ?? 0)} ${worker.held === 1 ? "job" : "jobs"} back`} />`;
  if (state !== "SILENT") return html`<${Status} of=${state} />`;
  const silent = worker.silent_since ? relative(worker.silent_since, now).replace(" ago", "") : "";
  const lost = worker.ends_at ? `, lost ${relative(worker.ends_at, now)}` : "";
  return html`<${Status} of="SILENT" word=${`silent ${silent}${lost}`} />`;
}

/** @param {any} worker What it takes, in a line: `mail: send, bounce; news: any kind`. */
export const takes = (worker) =>
  (worker.takes ?? []).map((/** @type {any} */ each) => `${each.queue}: ${each.kinds?.length ? each.kinds.join(", ") : "any kind"}`).join("; ");
