// The dialog of a bulk action: first the count, which changes nothing; then the number is typed; then how far it is.
import { html, useEffect, useMemo, useRef, useState } from "./lib.js";
import { ApiError, wasAborted } from "./api.js";
import { count, duration } from "./format.js";
import { Failure } from "./advice.js";
import { Modal } from "./dialog.js";
import { countMatching, plainNumber, requestName, start, VERBS } from "./operation.js";
import { path, url } from "./router.js";
import { Watch } from "./bulk_watch.js";

/** @typedef {import("./operation.js").Progress} Progress */
/** @typedef {import("./operation.js").Verb} Verb */

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
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    countMatching(verb, filter, stop.signal).then(setCounted, (failed) => wasAborted(failed) || setError(failed));
    return () => stop.abort();
  }, [turn]);
  // Other jobs match than were counted: nothing was done, and the new number has to be typed.
  const changed = (/** @type {unknown} */ failed) => {
    setError(failed);
    setCounted(null);
    setTurn(turn + 1);
  };
  return html`<${Modal} title=${VERBS[verb].title} onClose=${() => onClose(running)}>
    <p>${what}.</p>
    <div>${error && html`<${Failure} error=${error} />`}</div>
    <div>${running ? html`<${Watch} verb=${verb} first=${running} onChange=${setRunning} onClose=${() => onClose(running)} />`
      : counted ? html`<${Ask} verb=${verb} filter=${filter} counted=${counted} onStart=${setRunning} onChanged=${changed} onClose=${() => onClose(null)} />`
        : !error && html`<p class="dim">Counting, without a change…</p>`}</div>
  <//>`;
}

/**
 * What matches, how fast it is to go, and the number to type.
 * @param {object} props
 * @param {Verb} props.verb
 * @param {object} props.filter
 * @param {Progress} props.counted
 * @param {(begun: Progress) => void} props.onStart
 * @param {(error: unknown) => void} props.onChanged Another number of jobs matches by now.
 * @param {() => void} props.onClose
 */
function Ask({ verb, filter, counted, onStart, onChanged, onClose }) {
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
      // If more than a tenth more or fewer match by now than were counted, the server refuses.
      const more = { per_second: perSecond, expected: estimate, ...(reason && { reason }) };
      onStart(await start(verb, filter, more, name));
    } catch (failed) {
      if (failed instanceof ApiError && failed.reason === "FILTER_CHANGED") return onChanged(failed);
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
    <label>At most so many a second <span class="dim">(empty: as fast as other callers allow)</span>
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
