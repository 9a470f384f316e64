// Questions before something is done, and what came of it.
import { html, render, useEffect, useRef, useState } from "./lib.js";

/**
 * @typedef {object} Question
 * @property {string} title
 * @property {unknown} [text]
 * @property {string} action What the button says: the verb.
 * @property {string} [ask] A line of text is asked for, with this label.
 * @property {string} [type] This word has to be typed first.
 * @property {boolean} [danger]
 * @property {(text: string) => Promise<unknown>} run Does it; what it throws is shown, and the dialog stays.
 */

/** @param {Question & {done: (ran: boolean) => void}} props */
function Dialog({ title, text, action, ask, type, danger, run, done }) {
  const dialog = useRef(/** @type {any} */ (null));
  const [given, give] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  useEffect(() => {
    // <dialog> gives the focus back to where it was.
    dialog.current.showModal();
    dialog.current.querySelector("input")?.focus();
  }, []);
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setBusy(true);
    setError("");
    try {
      await run(given.trim());
      done(true);
    } catch (error) {
      setError(/** @type {Error} */ (error).message);
      setBusy(false);
    }
  };
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onClose=${() => done(false)}>
    <form onSubmit=${submit}>
      <h2 id="dialog-title">${title}</h2>
      ${text && html`<div class="text">${text}</div>`}
      ${(ask || type) && html`<label>${ask ?? `Type ${type} to go on`}
        <input name="given" value=${given} maxlength="255" autocomplete="off"
          onInput=${(/** @type {any} */ event) => give(event.target.value)} /></label>`}
      ${error && html`<p class="error" role="alert">${error}</p>`}
      <div class="buttons">
        <button type="button" onClick=${() => dialog.current.close()}>Leave it</button>
        <button type="submit" class=${danger ? "danger" : "primary"} disabled=${busy || (type !== undefined && given.trim() !== type)}>
          ${busy ? "Wait…" : action}</button>
      </div>
    </form>
  </dialog>`;
}

/** Asks, and does it. @param {Question} question @returns {Promise<boolean>} Whether it was done. */
export function confirm(question) {
  const place = document.createElement("div");
  document.body.append(place);
  return new Promise((resolve) => {
    const done = (/** @type {boolean} */ ran) => {
      place.querySelector("dialog")?.close();
      render(null, place);
      place.remove();
      resolve(ran);
    };
    render(html`<${Dialog} ...${question} done=${done} />`, place);
  });
}

/** @type {(text: string) => void} */
let show = () => {};

/** Says what came of an action, for eyes and for readers of screens. @param {string} text */
export const say = (text) => show(text);

/** Where `say` is shown: once in the page. */
export function Said() {
  const [text, set] = useState("");
  useEffect(() => {
    show = set;
  }, []);
  useEffect(() => {
    if (!text) return;
    const timer = setTimeout(() => set(""), 8000);
    return () => clearTimeout(timer);
  }, [text]);
  return html`<div class="said" role="status" aria-live="polite">${text}</div>`;
}
