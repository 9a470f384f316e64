// Dialogs over the page: questions before something is done, forms, and what came of it.
import { html, render, useEffect, useLayoutEffect, useRef, useState } from "./lib.js";

let made = 0;

/**
 * A dialog. Escape closes it, and the focus returns to where it was.
 * @param {{title: string, onClose: () => void, wide?: boolean, children?: unknown}} props
 */
export function Modal({ title, onClose, wide = false, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const name = useRef("");
  if (!name.current) name.current = `dialog-${++made}`;
  useLayoutEffect(() => {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    const element = dialog.current;
    element?.showModal();
    return () => {
      element?.close();
      // The row or button may be gone by now; then the page's heading has it.
      if (before?.isConnected && before !== document.body) before.focus();
      else /** @type {HTMLElement | null} */ (document.querySelector("h1"))?.focus();
    };
  }, []);
  const cancel = (/** @type {Event} */ event) => {
    event.preventDefault();
    onClose();
  };
  return html`<dialog ref=${dialog} class=${wide ? "wide" : ""} aria-labelledby=${name.current} onCancel=${cancel}>
    <h2 id=${name.current}>${title}</h2>
    ${children}
  </dialog>`;
}

/**
 * @typedef {object} Question
 * @property {string} title
 * @property {unknown} [text]
 * @property {string} action What the button says: the verb.
 * @property {string} [ask] A line of text is asked for, with this label.
 * @property {boolean} [danger]
 * @property {(text: string) => Promise<unknown>} run Does it; what it throws is shown, and the dialog stays.
 */

/** @param {Question & {done: (ran: boolean) => void}} props */
function Ask({ title, text, action, ask, danger, run, done }) {
  const [given, give] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
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
  return html`<${Modal} title=${title} onClose=${() => done(false)}><form onSubmit=${submit}>
    ${text && html`<div class="text">${text}</div>`}
    ${ask && html`<label>${ask}
      <input name="given" value=${given} maxlength="255" autocomplete="off" autofocus
        onInput=${(/** @type {any} */ event) => give(event.target.value)} /></label>`}
    ${error && html`<p class="error" role="alert">${error}</p>`}
    <div class="buttons">
      <button type="button" onClick=${() => done(false)}>Leave it</button>
      <button type="submit" class=${danger ? "danger" : "primary"} disabled=${busy}>${busy ? "Wait…" : action}</button>
    </div>
  </form><//>`;
}

/** Asks, and does it. @param {Question} question @returns {Promise<boolean>} Whether it was done. */
export function confirm(question) {
  const place = document.createElement("div");
  document.body.append(place);
  return new Promise((resolve) => {
    const done = (/** @type {boolean} */ ran) => {
      render(null, place);
      place.remove();
      resolve(ran);
    };
    render(html`<${Ask} ...${question} done=${done} />`, place);
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
