// What can be done with the jobs that are selected, or with all that the filter finds.
import { canAnywhere } from "./auth.js";
import { BulkDialog } from "./bulk.js";
import { say } from "./dialog.js";
import { count } from "./format.js";
import { useKey } from "./keys.js";
import { html, useState } from "./lib.js";
import { VERBS } from "./operation.js";

/** @typedef {import("./operation.js").Verb} Verb */

/**
 * @param {object} props
 * @param {Set<string>} props.selected Ids.
 * @param {object | null} props.filter The JobFilter of the list; null: it has no condition.
 * @param {string} props.what The list as a sentence.
 * @param {() => void} props.onClear
 * @param {() => void} props.onDone Something may have changed.
 */
export function BulkBar({ selected, filter, what, onClear, onDone }) {
  const [all, setAll] = useState(false);
  const [verb, setVerb] = useState(/** @type {Verb | null} */ (null));
  const open = (/** @type {Verb} */ wanted) => selected.size && setVerb(wanted);
  useKey("r", () => open("retry"));
  useKey("c", () => open("cancel"));
  useKey("Escape", () => (selected.size ? clear() : history.back()));
  const clear = () => {
    setAll(false);
    onClear();
  };
  if (!canAnywhere("OPERATE") || !selected.size) return null;
  const whole = all && filter;
  const closed = (/** @type {import("./operation.js").Progress | null} */ done) => {
    const asked = verb;
    setVerb(null);
    if (!done || !asked) return;
    say(done.done ? `${count(done.changed)} ${VERBS[asked].did}` : "The operation goes on; see the page of operations");
    clear();
    onDone();
    // The button that had the focus has gone with the selection.
    requestAnimationFrame(() => document.activeElement === document.body && document.querySelector("h1")?.focus());
  };
  return html`<div class="bulk-bar" role="toolbar" aria-label="Selected jobs">
    <b>${whole ? "All in the filter" : `${count(selected.size)} selected`}</b>
    ${filter ? html`<button type="button" class="small" aria-pressed=${all} onClick=${() => setAll(!all)}>
        ${all ? "Only those selected" : "Select all in the filter"}</button>`
      : html`<span class="dim">To select all, choose a filter first</span>`}
    ${/** @type {Verb[]} */ (["retry", "update", "cancel", "delete"]).map((each) => html`
      <button type="button" key=${each} class=${`small ${each === "retry" || each === "update" ? "" : "danger"}`} onClick=${() => open(each)}>
        ${{ retry: "Retry", update: "Change", cancel: "Cancel", delete: "Delete" }[each]}…</button>`)}
    <button type="button" class="small" onClick=${clear}>Clear selection</button>
    ${verb && html`<${BulkDialog} verb=${verb} filter=${whole ? filter : { ids: [...selected] }}
      what=${whole ? what.replace(", newest first", "") : `${count(selected.size)} selected ${selected.size === 1 ? "job" : "jobs"}`} onClose=${closed} />`}
  </div>`;
}
