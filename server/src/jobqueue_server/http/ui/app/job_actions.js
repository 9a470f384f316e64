// What can be done with one job, where the caller may and its state permits.
import { Failure } from "./advice.js";
import { call } from "./api.js";
import { can } from "./auth.js";
import { confirm, say } from "./dialog.js";
import { useKey } from "./keys.js";
import { html, useState } from "./lib.js";
import { go, path, url } from "./router.js";
import { ended } from "./timeline.js";

/** @typedef {import("./jobs_data.js").Job} Job */

/**
 * @param {object} props
 * @param {Job} props.job
 * @param {() => void} props.onChange The job is another one by now.
 * @param {() => void} props.onCopy
 */
export function JobActions({ job, onChange, onCopy }) {
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const at = path("jobs", job.id);
  const operate = can("OPERATE", job.queue, job.kind);
  const enqueue = can("ENQUEUE", job.queue, job.kind);
  const over = ended(job);
  const act = async (/** @type {string} */ verb, /** @type {(answer: any) => string} */ said) => {
    setError(null);
    try {
      say(said(await call(`v1/${at}:${verb}`, { method: "POST", body: {} })));
    } catch (failed) {
      setError(failed);
    }
    onChange();
  };
  const retry = () => act("retry", () => "It is queued again");
  const release = () => act("release", () => "It was released, and waits for a worker");
  const cancel = () => act("cancel", ({ pending }) => (pending ? "Cancel asked; its worker is told" : "It was cancelled"));
  const remove = async () => {
    const done = await confirm({
      title: "Delete this job?",
      text: html`<p>${job.kind} ${job.id} and its history are gone then. Nothing brings them back.</p>`,
      action: "Delete",
      danger: true,
      run: () => call(`v1/${at}`, { method: "DELETE" }),
    });
    if (!done) return;
    say("The job was deleted");
    go(url("jobs"));
  };
  const mayRetry = operate && over;
  const mayCancel = (operate || enqueue) && !over && !(job.status === "RUNNING" && job["cancel_requested"]);
  useKey("r", () => mayRetry && retry());
  useKey("c", () => mayCancel && cancel());
  return html`<div class="actions">
    ${mayRetry && html`<button type="button" class="primary" title="Key: r" onClick=${retry}>Retry</button>`}
    ${operate && job["hold"] === "HAND" && html`<button type="button" class="primary" onClick=${release}>Release</button>`}
    ${mayCancel && html`<button type="button" class="danger" title="Key: c" onClick=${cancel}>Cancel</button>`}
    ${operate && over && html`<button type="button" class="danger" onClick=${remove}>Delete…</button>`}
    ${enqueue && html`<button type="button" onClick=${onCopy}>Enqueue a copy…</button>`}
    ${error && html`<${Failure} error=${error} />`}
  </div>`;
}
