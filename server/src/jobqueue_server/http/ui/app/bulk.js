// The dialog of a bulk action: first the count, which changes nothing; then the number is typed; then how far it is.
import { html, useEffect, useMemo, useRef, useState } from "./lib.js";
import { wasAborted } from "./api.js";
import { count, duration } from "./format.js";
import { Failure } from "./advice.js";
import { Modal } from "./modal.js";
import { Link, path, url } from "./router.js";
import { countMatching, plainNumber, readOperation, requestName, start, stopOperation, VERBS } from "./operation.js";

/** @typedef {import("./operation.js").Progress} Progress */
/** @typedef {import("./operation.js").Verb} Verb */

const POLL_MS = 400;

/**
 * @param {object} props
 * @param {Verb} props.verb
 * @param {object} props.filter A JobFilter with a condition.
 * @param {string} props.what Which jobs these are, as a sentence.
 * @param {(done: Progress | null) => void} props.onClose Gets the operation, if one was started.
 */
export function BulkDialog({ verb, filter, what, onClose }) {
  const [counted, setCounted] = useState(/** @type {Progress | null} */ (null));
  const [running, setRunning] = useState(/** @type {Progress | null} */ (null));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  useEffect(() => {
    const stop = new AbortController();
    countMatching(verb, filter, stop.signal).then(setCounted, (failed) => wasAborted(failed) || setError(failed));
    return () => stop.abort();
  }, []);
  return html`<${Modal} title=${VERBS[verb].title} onClose=${() => onClose(running)}>
    <p>${what}.</p>
    <div>${error && html`<${Failure} error=${error} />`}</div>
    <div>${running ? html`<${Watch} verb=${verb} first=${running} onChange=${setRunning} onClose=${() => onClose(running)} />`
      : counted ? html`<${Ask} verb=${verb} filter=${filter} counted=${counted} onStart=${setRunning} onClose=${() => onClose(null)} />`
        : !error && html`<p class="dim">Counting, without a change…</p>`}</div>
  <//>`;
}

/**
 * What matches, how fast it is to go, and the number to type.
 * @param {{verb: Verb, filter: object, counted: Progress, onStart: (begun: Progress) => void, onClose: () => void}} props
 */
function Ask({ verb, filter, counted, onStart, onClose }) {
  const [rate, setRate] = useState(verb === "retry" ? "200" : "");
  const [reason, setReason] = useState("");
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const confirm = useRef(/** @type {HTMLInputElement | null} */ (null));
  // The dialog was opened before there was anything in it to focus.
  useEffect(() => confirm.current?.focus(), []);
  const name = useMemo(requestName, []);
  const { estimate, capped } = counted;
  const perSecond = /^\d+$/.test(rate) ? Number(rate) : 0;
  const rateWrong = rate.trim() !== "" && !(perSecond >= 1 && perSecond <= 100_000);
  const right = plainNumber(typed) === String(estimate);
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!right || rateWrong || busy) return;
    setBusy(true);
    setError(null);
    try {
      // What was counted is the most that changes, also if more jobs match by now.
      const more = { per_second: perSecond, max_jobs: capped ? 0 : estimate, ...(reason && { reason }) };
      onStart(await start(verb, filter, more, name));
    } catch (failed) {
      setError(failed);
      setBusy(false);
    }
  };
  if (!estimate) {
    return html`<p><b>No job matches</b> that you may change.</p>
      <div class="buttons"><button type="button" autofocus onClick=${onClose}>Close</button></div>`;
  }
  return html`<form onSubmit=${go} class="bulk-form">
    <p data-bulk="count">
      <b>${count(estimate, capped)} ${estimate === 1 ? "job" : "jobs"}</b> ${VERBS[verb].will}${pace(estimate, perSecond, capped)}.
      Nothing has changed yet.
    </p>
    <${Sample} ids=${counted.sample} all=${estimate} />
    <label>At most so many a second <span class="dim">(empty: as fast as harms nobody)</span>
      <input inputmode="numeric" value=${rate} aria-invalid=${rateWrong} onInput=${set(setRate)} />
    </label>
    <p class="wrong">${rateWrong && "A rate is a number from 1 to 100000."}</p>
    <div>${verb === "cancel" && html`<label>Reason, for workers and people
      <input maxlength="255" value=${reason} onInput=${set(setReason)} /></label>`}</div>
    <label>To confirm, type ${estimate}${capped ? ", though there may be more" : ""}
      <input ref=${confirm} inputmode="numeric" autocomplete="off" data-bulk="confirm" value=${typed} onInput=${set(setTyped)} />
    </label>
    <div>${error && html`<${Failure} error=${error} />`}</div>
    <div class="buttons">
      <button type="submit" class=${verb === "retry" ? "primary" : "danger"} disabled=${!right || rateWrong || busy}>
        ${VERBS[verb].button}
      </button>
      <button type="button" onClick=${onClose}>Leave them</button>
    </div>
  </form>`;
}

/** @param {(text: string) => void} setter */
const set = (setter) => (/** @type {Event} */ event) => setter(/** @type {HTMLInputElement} */ (event.target).value);

/** How fast, and for how long. @param {number} jobs @param {number} perSecond @param {boolean} capped */
function pace(jobs, perSecond, capped) {
  if (!perSecond) return "";
  return ` at ${count(perSecond)}/s, ${capped ? "at least" : "about"} ${duration(Math.ceil(jobs / perSecond))}`;
}

/** @param {{ids: string[], all: number}} props */
function Sample({ ids, all }) {
  if (!ids.length) return null;
  return html`<details>
    <summary>${ids.length < all ? `The first ${ids.length}` : "Which"}</summary>
    <ul class="bulk-sample">
      ${ids.map((id) => html`<li key=${id}><a href=${url(path("jobs", id))} target="_blank" rel="noopener">${id}</a></li>`)}
    </ul>
  </details>`;
}

/**
 * How far the operation is. It goes on when the dialog is closed.
 * @param {{verb: Verb, first: Progress, onChange: (now: Progress) => void, onClose: () => void}} props
 */
function Watch({ verb, first, onChange, onClose }) {
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [stopping, setStopping] = useState(false);
  const close = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const now = useOperation(first, onChange, setError);
  useEffect(() => close.current?.focus(), []);
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
    <div>${error && html`<${Failure} error=${error} />`}</div>
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

/**
 * The operation as it is now, read every little while until it is done.
 * @param {Progress} first @param {(now: Progress) => void} onChange @param {(error: unknown) => void} onError
 */
export function useOperation(first, onChange, onError) {
  const [now, setNow] = useState(first);
  useEffect(() => {
    if (now.done) return;
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const read = await readOperation(now.name, stop.signal);
        setNow(read);
        onChange(read);
        onError(null);
      } catch (failed) {
        if (wasAborted(failed)) return;
        onError(failed);
        setNow({ ...now }); // Asks again.
      }
    }, POLL_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [now]);
  return now;
}
