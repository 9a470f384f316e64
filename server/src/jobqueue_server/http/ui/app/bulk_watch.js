// How far a bulk action is, in its dialog, and the stop.
import { Failure } from "./advice.js";
import { useData } from "./data.js";
import { count } from "./format.js";
import { html, useEffect, useRef, useState } from "./lib.js";
import { progressOf, stopOperation, VERBS } from "./operation.js";
import { Link, url } from "./router.js";

/** @typedef {import("./operation.js").Progress} Progress */

const AGAIN_MS = 400;

/**
 * How far the operation is. It goes on when the dialog is closed.
 * @param {{verb: import("./operation.js").Verb, first: Progress, onChange: (now: Progress) => void, onClose: () => void}} props
 */
export function Watch({ verb, first, onChange, onClose }) {
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [stopping, setStopping] = useState(false);
  const [now, setNow] = useState(first);
  const close = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const read = useData(now.done ? null : `v1/${first.name}`, { every: AGAIN_MS });
  useEffect(() => close.current?.focus(), []);
  useEffect(() => {
    if (!read.data) return;
    const progress = progressOf(read.data);
    setNow(progress);
    onChange(progress);
  }, [read.data]);
  const whole = now.mostJobs || now.estimate;
  const stop = async () => {
    setStopping(true);
    try {
      await stopOperation(now.name);
    } catch (failed) {
      setError(failed);
      setStopping(false);
    }
  };
  return html`<div class="bulk-progress" data-bulk=${now.done ? "done" : "running"}>
    <progress max=${Math.max(1, whole)} value=${now.changed + now.skipped} aria-label="Jobs changed"></progress>
    <p>
      <b>${count(now.changed)} of ${count(whole, now.capped && !now.mostJobs)}</b> ${VERBS[verb].did}${now.skipped ? `, ${count(now.skipped)} skipped` : ""}
    </p>
    <p role="status">${ending(now, stopping)}</p>
    <div>${(error || read.error) && html`<${Failure} error=${error || read.error} />`}</div>
    <div class="buttons">
      ${!now.done && html`<button type="button" class="danger" disabled=${stopping} onClick=${stop}>Stop it</button>`}
      <button type="button" ref=${close} onClick=${onClose}>${now.done ? "Close" : "Close; it goes on"}</button>
      <${Link} to=${url("operations")}>All operations<//>
    </div>
  </div>`;
}

/** @param {Progress} now @param {boolean} stopping */
function ending(now, stopping) {
  if (now.state === "CANCELLED") return `Stopped. ${count(now.changed)} were changed, and stay changed.`;
  if (now.state === "FAILED") return `Ended by a fault of the server: ${now.error || "see its log"}. What was changed stays changed.`;
  if (now.done) return `Done. ${count(now.changed)} were changed.`;
  return stopping ? "It stops after the step that it is in." : "";
}
