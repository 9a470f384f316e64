// The keyboard. Single letters are off inside of fields, and can be turned off (WCAG 2.1.4).
import { Modal } from "./dialog.js";
import { html, useLayoutEffect, useRef, useState } from "./lib.js";
import { Palette } from "./palette.js";
import { read } from "./prefs.js";
import { go, url } from "./router.js";

/** Where `g` and a letter go; "": only the palette goes there. @type {(readonly [string, string, string])[]} */
const PLACES = [
  ["o", "", "overview"], ["q", "queues", "queues"], ["k", "kinds", "kinds"], ["j", "jobs", "jobs"],
  ["w", "workers", "workers"], ["s", "schedules", "schedules"], ["d", "dead", "dead jobs"], ["e", "servers", "servers"],
  ["", "operations", "operations"], ["", "audit", "audit"], ["", "settings", "settings"],
];
const OTHERS = [
  ["/", "filter"], ["j, k", "next, previous row"], ["enter", "open the row"], ["x", "select the row"],
  ["shift + x", "select all from the last selected row"], ["shift + j, k", "select rows on the way"],
  ["r, c", "retry, cancel: the job, or the selected rows"], ["esc", "back"], [".", "live on, off"], ["ctrl + k", "go to what you type"], ["?", "this help"],
];

/** @type {Map<string, () => void>} */
const actions = new Map();

/** A letter does something from when a part of a page is seen: `useKey("r", retry)`. @param {string} key @param {(() => void) | null} run */
export function useKey(key, run) {
  const newest = useRef(run);
  newest.current = run;
  useLayoutEffect(() => {
    const mine = () => newest.current?.();
    actions.set(key, mine);
    return () => {
      if (actions.get(key) === mine) actions.delete(key);
    };
  }, [key]);
}

/** Listens to the keyboard, and shows the help and the palette: once in the page. */
export function Keys() {
  const [open, setOpen] = useState("");
  const going = useRef(0);
  useLayoutEffect(() => {
    const press = (/** @type {KeyboardEvent} */ event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
      // No letter alone, so it is for fields too, and nothing turns it off.
      const palette = event.key === "k" && (event.ctrlKey || event.metaKey);
      if (palette) setOpen("palette");
      else if (target.matches?.("input:not([type=checkbox]), textarea, select, [contenteditable]") || event.ctrlKey || event.metaKey || event.altKey) return;
      else if (read("letters") === "off" && event.key.length === 1) return;
      else if (!pressed(event.key)) return;
      event.preventDefault();
    };
    const pressed = (/** @type {string} */ key) => {
      if (Date.now() - going.current < 1500) {
        going.current = 0;
        const place = PLACES.find(([letter]) => letter === key);
        if (place) go(url(place[1]));
        return place !== undefined;
      }
      if (key === "g") going.current = Date.now();
      else if (key === "?") setOpen("help");
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
  const close = () => setOpen("");
  if (open === "palette") return html`<${Palette} pages=${PLACES} onClose=${close} />`;
  return open && html`<${Modal} title="Keys" onClose=${close}>
    <table class="keys"><tbody>
      ${PLACES.map(([letter, , name]) => letter && html`<tr key=${name}><th scope="row"><kbd>g</kbd> <kbd>${letter}</kbd></th><td>go to ${name}</td></tr>`)}
      ${OTHERS.map(([key, text]) => html`<tr key=${key}><th scope="row"><kbd>${key}</kbd></th><td>${text}</td></tr>`)}
    </tbody></table>
    <div class="buttons"><button type="button" class="primary" autofocus onClick=${close}>Close</button></div>
  <//>`;
}

/** @param {string} selector */
function focus(selector) {
  const element = /** @type {HTMLElement | null} */ (document.querySelector(selector));
  element?.focus();
  return element !== null;
}
