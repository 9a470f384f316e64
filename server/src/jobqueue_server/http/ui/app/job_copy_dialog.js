// Enqueues a job like this one, whose payload may be changed first.
import { Failure } from "./advice.js";
import { callText } from "./api.js";
import { Modal, say } from "./dialog.js";
import { bodyOf } from "./job_copy.js";
import { member, pretty, read } from "./json.js";
import { html, useState } from "./lib.js";
import { go, path, url } from "./router.js";

/** @param {{job: import("./jobs_data.js").Job, payload: string, onClose: () => void}} props */
export function CopyDialog({ job, payload, onClose }) {
  const [text, setText] = useState(() => pretty(payload || "null"));
  const [queue, setQueue] = useState(job.queue);
  const [hold, setHold] = useState(false);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [busy, setBusy] = useState(false);
  const wrong = problem(text);
  const enqueue = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (wrong || busy) return;
    setBusy(true);
    setError(null);
    try {
      // What was not changed is sent byte for byte.
      const sent = text === pretty(payload || "null") ? payload : text;
      const body = bodyOf({ ...job, queue }, sent);
      const answer = await callText("v1/jobs", { method: "POST", body: hold ? `${body.slice(0, -1)}, "hold": true}` : body });
      const id = JSON.parse(member(answer, "id") ?? '""');
      say(`Job ${id} was enqueued`);
      onClose();
      go(url(path("jobs", id)));
    } catch (failed) {
      setError(failed);
      setBusy(false);
    }
  };
  return html`<${Modal} title="Enqueue a copy" onClose=${onClose} wide>
    <form onSubmit=${enqueue}>
      <p class="dim">A new ${job.kind} with the priority, labels, key and limits of this job. It starts at once, and has no
        idempotency key and no unique name. The server checks the payload by the schema of the kind.</p>
      <label>Queue <input value=${queue} onInput=${(/** @type {any} */ event) => setQueue(event.target.value)} /></label>
      <label>Payload
        <textarea rows="14" spellcheck=${false} autofocus value=${text} aria-invalid=${wrong !== ""} aria-describedby="copy-wrong"
          onInput=${(/** @type {any} */ event) => setText(event.target.value)}></textarea></label>
      <p id="copy-wrong" class="wrong">${wrong}</p>
      <label class="check"><input type="checkbox" checked=${hold} onChange=${(/** @type {any} */ event) => setHold(event.target.checked)} />
        Hold it back until it is released</label>
      ${error && html`<${Failure} error=${error} what="Nothing was enqueued" />`}
      <div class="buttons">
        <button type="button" onClick=${onClose}>Leave it</button>
        <button type="submit" class="primary" disabled=${wrong !== "" || busy}>Enqueue</button>
      </div>
    </form>
  <//>`;
}

/** @param {string} text */
function problem(text) {
  try {
    read(text);
    return "";
  } catch (error) {
    return /** @type {Error} */ (error).message;
  }
}
