// The keyboard. Single letters are off inside of fields, and can be turned off (WCAG 2.1.4).
import { html, useEffect, useRef, useState } from "./lib.js";
import { read } from "./prefs.js";
import { go, url } from "./router.js";

/** Where `g` and a letter go. */
export const PLACES = /** @type {const} */ ([
  ["o", "", "overview"], ["q", "queues", "queues"], ["k", "kinds", "kinds"], ["j", "jobs", "jobs"],
  ["w", "workers", "workers"], ["s", "schedules", "schedules"], ["d", "dead", "dead jobs"], ["e", "servers", "servers"],
]);
const OTHERS = [
  ["/", "filter"], ["j, k", "next, previous row"], ["enter", "open the row"], ["x", "select the row"],
  ["shift + x", "select all from the last selected row"], ["shift + j, k", "select rows on the way"],
  ["r, c", "retry, cancel: the job, or the selected rows"], ["esc", "back"], [".", "live on, off"], ["?", "this help"],
];

/** @type {Map<string, () => void>} */
const actions = new Map();

/** A letter does something while a part of a page is there: `useKey("r", retry)`. @param {string} key @param {(() => void) | null} run */
export function useKey(key, run) {
  const newest = useRef(run);
  newest.current = run;
  useEffect(() => {
    const mine = () => newest.current?.();
    actions.set(key, mine);
    return () => {
      if (actions.get(key) === mine) actions.delete(key);
    };
  }, [key]);
}

/** Listens to the keyboard, and shows the help: once in the page. */
export function Keys() {
  const [help, setHelp] = useState(false);
  const going = useRef(0);
  const dialog = useRef(/** @type {any} */ (null));
  useEffect(() => {
    const press = (/** @type {KeyboardEvent} */ event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      const busy = target.matches?.("input:not([type=checkbox]), textarea, select, [contenteditable]") || document.querySelector("dialog[open]");
      if (event.defaultPrevented || busy || event.ctrlKey || event.metaKey || event.altKey) return;
      if (read("letters") === "off" && event.key.length === 1) return;
      if (pressed(event.key)) event.preventDefault();
    };
    const pressed = (/** @type {string} */ key) => {
      if (Date.now() - going.current < 1500) {
        going.current = 0;
        const place = PLACES.find(([letter]) => letter === key);
        if (place) go(url(place[1]));
        return place !== undefined;
      }
      if (key === "g") going.current = Date.now();
      else if (key === "?") setHelp(true);
      else if (key === "Escape" && !actions.has(key)) history.back();
      else if (actions.has(key)) actions.get(key)?.();
      else if (key === "/") return focus("[data-filter]");
      else if (key === "j" || key === "k") return focus("main tbody tr[tabindex='0']");
      else return false;
      return true;
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  useEffect(() => {
    if (help) dialog.current?.showModal();
  }, [help]);
  return help && html`<dialog ref=${dialog} aria-labelledby="keys-title" onClose=${() => setHelp(false)}>
    <h2 id="keys-title">Keys</h2>
    <table class="keys"><tbody>
      ${PLACES.map(([letter, , name]) => html`<tr key=${letter}><th scope="row"><kbd>g</kbd> <kbd>${letter}</kbd></th><td>go to ${name}</td></tr>`)}
      ${OTHERS.map(([key, text]) => html`<tr key=${key}><th scope="row"><kbd>${key}</kbd></th><td>${text}</td></tr>`)}
    </tbody></table>
    <div class="buttons"><button type="button" class="primary" onClick=${() => dialog.current.close()}>Close</button></div>
  </dialog>`;
}

/** @param {string} selector */
function focus(selector) {
  const element = /** @type {HTMLElement | null} */ (document.querySelector(selector));
  element?.focus();
  return element !== null;
}
