// A dialog over the page with more in it than a question (dialog.js). Escape closes it, and the focus returns to where it was.
import { html, useLayoutEffect, useRef } from "./lib.js";

let made = 0;

/** @param {{title: string, onClose: () => void, wide?: boolean, children?: unknown}} props */
export function Modal({ title, onClose, wide = false, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const name = useRef("");
  if (!name.current) name.current = `modal-${++made}`;
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
