// Filters that are kept in this browser, as links.
import { html, useState } from "./lib.js";
import { read, setting, useSetting } from "./prefs.js";
import { Link, url } from "./router.js";

const STORED = "views";
/** Those that everybody has. @type {[string, string][]} */
const GIVEN = [["All", ""], ["Waiting", "status:waiting"], ["Running", "status:running"], ["Failed", "status:failed"]];

/** @param {string} text @returns {[string, string][]} Names and filters. */
function viewsOf(text) {
  try {
    const kept = JSON.parse(text || "[]");
    return kept.filter((/** @type {unknown} */ each) => Array.isArray(each) && each.length === 2).map((/** @type {unknown[]} */ each) => each.map(String));
  } catch {
    return [];
  }
}

/** @param {[string, string][]} views */
const keep = (views) => setting(STORED, views.length ? JSON.stringify(views) : "");

/** @param {{line: string}} props The filter of the page. */
export function SavedViews({ line }) {
  const mine = viewsOf(useSetting(STORED));
  const [name, setName] = useState(/** @type {string | null} */ (null));
  const known = [...GIVEN, ...mine].some(([, filter]) => filter === line);
  const save = (/** @type {Event} */ event) => {
    event.preventDefault();
    const called = (name ?? "").trim();
    if (called) keep([...viewsOf(read(STORED)).filter(([other]) => other !== called), [called, line]]);
    setName(null);
  };
  return html`<nav class="views" aria-label="Saved filters">
    ${GIVEN.map(([called, filter]) => html`<${View} key=${called} called=${called} filter=${filter} line=${line} />`)}
    ${mine.map(([called, filter]) => html`<span class="view" key=${`mine-${called}`}>
      <${View} called=${called} filter=${filter} line=${line} />
      <button type="button" class="small" aria-label=${`Forget the view ${called}`}
        onClick=${() => keep(mine.filter(([other]) => other !== called))}>×</button></span>`)}
    ${!known && name === null && html`<button type="button" class="small" onClick=${() => setName("")}>Save this view</button>`}
    ${name !== null && html`<form class="save-view" onSubmit=${save}>
      <input autofocus aria-label="Name of the view" maxlength="40" placeholder="name of the view" value=${name}
        ref=${(/** @type {HTMLElement | null} */ element) => name === "" && element?.focus()}
        onInput=${(/** @type {any} */ event) => setName(event.target.value)}
        onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Escape" && setName(null)} />
      <button type="submit" class="small" disabled=${!name.trim()}>Save</button>
    </form>`}
  </nav>`;
}

/** @param {{called: string, filter: string, line: string}} props */
const View = ({ called, filter, line }) =>
  html`<${Link} to=${url("jobs", { q: filter })} aria-current=${filter === line ? "true" : undefined}>${called}<//>`;
