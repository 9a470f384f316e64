// The dialog of a bulk action: what is to change; the count, which changes nothing; then the number is typed; then how far it is.
import { Failure } from "./advice.js";
import { ApiError, wasAborted } from "./api.js";
import { FIELDS, first, requestOf, words } from "./bulk_fields.js";
import { Watch } from "./bulk_watch.js";
import { useData } from "./data.js";
import { Modal } from "./dialog.js";
import { count, duration } from "./format.js";
import { html, useEffect, useMemo, useRef, useState } from "./lib.js";
import { countMatching, plainNumber, requestName, start, VERBS } from "./operation.js";
import { path, url } from "./router.js";

/** @typedef {import("./operation.js").Progress} Progress */
/** @typedef {import("./operation.js").Verb} Verb */
/** @typedef {import("./bulk_fields.js").Field} Field */

/**
 * @param {object} props
 * @param {Verb} props.verb
 * @param {object} props.filter A JobFilter with a condition.
 * @param {string} props.what Which jobs these are, as a sentence.
 * @param {(done: Progress | null) => void} props.onClose Gets the operation, if one was started.
 */
export function BulkDialog({ verb, filter, what, onClose }) {
  const { before } = FIELDS[verb];
  const [given, give] = useState(() => first(before));
  const [ready, setReady] = useState(before.length === 0);
  const [counted, setCounted] = useState(/** @type {Progress | null} */ (null));
  const [running, setRunning] = useState(/** @type {Progress | null} */ (null));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [turn, setTurn] = useState(0);
  const { body, wrong } = requestOf(before, given);
  useEffect(() => {
    if (!ready) return;
    const stop = new AbortController();
    countMatching(verb, filter, body, stop.signal).then(setCounted, (failed) => {
      if (wasAborted(failed)) return;
      setError(failed);
      // What was to change is refused, so it is asked for again.
      if (before.length) setReady(false);
    });
    return () => stop.abort();
  }, [turn, ready]);
  // Other jobs match than were counted: nothing was done, and the new number has to be typed.
  const changed = (/** @type {unknown} */ failed) => {
    setError(failed);
    setCounted(null);
    setTurn(turn + 1);
  };
  const countThem = () => {
    setError(null);
    setReady(true);
  };
  return html`<${Modal} title=${VERBS[verb].title} onClose=${() => onClose(running)}>
    <p>${what}.</p>
    <div>${error && html`<${Failure} error=${error} />`}</div>
    <div>${running ? html`<${Watch} verb=${verb} first=${running} onChange=${setRunning} onClose=${() => onClose(running)} />`
      : !ready ? html`<${Before} fields=${before} given=${given} wrong=${wrong} give=${give} onReady=${countThem} onClose=${() => onClose(null)}
          right=${Object.keys(body).length > 0 && !Object.keys(wrong).length} />`
      : counted ? html`<${Ask} verb=${verb} filter=${filter} body=${body} changes=${words(before, given)} counted=${counted}
          onStart=${setRunning} onChanged=${changed} onClose=${() => onClose(null)} />`
        : !error && html`<p class="dim">Counting, without a change…</p>`}</div>
  <//>`;
}

/** @typedef {{fields: Field[], given: Record<string, string>, wrong: Record<string, string>, give: (given: Record<string, string>) => void}} Filled */

/** What is to change of each job. @param {Filled & {right: boolean, onReady: () => void, onClose: () => void}} props */
function Before({ right, onReady, onClose, ...filled }) {
  const go = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (right) onReady();
  };
  return html`<form onSubmit=${go} class="bulk-form">
    <${Inputs} ...${filled} focused />
    <div class="buttons">
      <button type="button" onClick=${onClose}>Leave them</button>
      <button type="submit" class="primary" disabled=${!right}>Count them</button>
    </div>
  </form>`;
}

/** @param {Filled & {focused?: boolean}} props */
function Inputs({ fields, given, wrong, give, focused = false }) {
  const queues = useData(fields.some(({ name }) => name === "to_queue") ? "v1/queues" : null, { query: { page_size: 1000 } }).data?.queues ?? [];
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    if (focused) place.current?.querySelector("input")?.focus();
  }, []);
  return html`<div ref=${place}>${fields.map(({ name, label, hint }) => html`<label key=${name}>${label} ${hint && html`<span class="dim">(${hint})</span>`}
    <input name=${name} maxlength="255" autocomplete="off" list=${name === "to_queue" ? "queues-there-are" : undefined} aria-invalid=${name in wrong}
      value=${given[name]} onInput=${(/** @type {any} */ event) => give({ ...given, [name]: event.target.value })} /></label>
    ${wrong[name] && html`<p class="wrong">${wrong[name]}</p>`}`)}
    <datalist id="queues-there-are">${queues.map((/** @type {any} */ queue) => html`<option key=${queue.name} value=${queue.name} />`)}</datalist></div>`;
}

/**
 * What matches, how fast it is to go, and the number to type.
 * @param {object} props
 * @param {Verb} props.verb
 * @param {object} props.filter
 * @param {Record<string, unknown>} props.body What is to change.
 * @param {string} props.changes The same in words.
 * @param {Progress} props.counted
 * @param {(begun: Progress) => void} props.onStart
 * @param {(error: unknown) => void} props.onChanged Another number of jobs matches by now.
 * @param {() => void} props.onClose
 */
function Ask({ verb, filter, body, changes, counted, onStart, onChanged, onClose }) {
  const fields = FIELDS[verb].then;
  const [given, give] = useState(() => first(fields));
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const confirm = useRef(/** @type {HTMLInputElement | null} */ (null));
  // The dialog was opened before there was anything in it to focus.
  useEffect(() => confirm.current?.focus(), []);
  const name = useMemo(requestName, []);
  const { estimate, capped } = counted;
  const told = requestOf(fields, given);
  const right = plainNumber(typed) === String(estimate);
  const may = right && !Object.keys(told.wrong).length && !busy;
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!may) return;
    setBusy(true);
    setError(null);
    try {
      // If more than a tenth more or fewer match by now than were counted, the server refuses.
      onStart(await start(verb, filter, { ...body, ...told.body, expected: estimate }, name));
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
      <b>${count(estimate, capped)} ${estimate === 1 ? "job" : "jobs"}</b> ${VERBS[verb].will}${changes && `: ${changes}`}${pace(estimate, Number(told.body["per_second"] ?? 0), capped)}.
      Nothing has changed yet.
    </p>
    <${Sample} ids=${counted.sample} all=${estimate} />
    <${Inputs} fields=${fields} given=${given} wrong=${told.wrong} give=${give} />
    <label>To confirm, type ${estimate}${capped ? ", though there may be more" : ""}
      <input ref=${confirm} inputmode="numeric" autocomplete="off" data-bulk="confirm" value=${typed}
        onInput=${(/** @type {any} */ event) => setTyped(event.target.value)} />
    </label>
    <div>${error && html`<${Failure} error=${error} />`}</div>
    <div class="buttons">
      <button type="submit" class=${verb === "retry" || verb === "update" ? "primary" : "danger"} disabled=${!may}>
        ${VERBS[verb].button}
      </button>
      <button type="button" onClick=${onClose}>Leave them</button>
    </div>
  </form>`;
}

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
