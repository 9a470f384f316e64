// Where the reader is. All of it is in the URL: a reload, a bookmark or a colleague sees the same.
import { html } from "./lib.js";
import { watched } from "./watched.js";

/** The address of the page, which ends with /ui/, wherever a proxy has put it. */
const BASE = new URL(document.baseURI);

const { tell, use } = watched();

/** Of an address of the page: its path below /ui/, such as `queues/mail`. */
function here() {
  return location.pathname.startsWith(BASE.pathname) ? location.pathname.slice(BASE.pathname.length) : "";
}

/**
 * The address of a place in the page.
 * @param {string} path Below /ui/; its parts are encoded.
 * @param {Record<string, string | number | null | undefined>} [query] What is null, undefined or "" is left out.
 */
export function url(path, query = {}) {
  const target = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") target.searchParams.set(name, String(value));
  }
  return target.pathname + target.search;
}

/**
 * A path of these parts, each encoded.
 * @param {...string} parts
 */
export const path = (...parts) => parts.map(encodeURIComponent).join("/");

/**
 * Goes to a place, as a click on its link does.
 * @param {string} target From `url`.
 * @param {{replace?: boolean}} [how] Whether it takes the place of the one that is left.
 */
export function go(target, { replace = false } = {}) {
  if (target === location.pathname + location.search) return;
  const before = here();
  history[replace ? "replaceState" : "pushState"](null, "", target);
  tell();
  if (here() !== before) {
    window.scrollTo(0, 0);
    // A reader of screens goes on at the new page's heading.
    requestAnimationFrame(() => document.querySelector("h1")?.focus({ preventScroll: true }));
  }
}

/** Changes some of the query, and stays on the page.
 * @param {Record<string, string | number | null | undefined>} changes */
export function setQuery(changes) {
  go(url(here(), { ...Object.fromEntries(new URLSearchParams(location.search)), ...changes }), { replace: true });
}

addEventListener("popstate", tell);

/** The place, kept up to date: the path below /ui/, and the query.
 * @returns {{path: string, query: Record<string, string>}} */
export function usePlace() {
  use();
  return { path: here(), query: Object.fromEntries(new URLSearchParams(location.search)) };
}

/**
 * A link within the page. With a modifier key or another button it is a link as any other.
 * @param {{to: string, class?: string, children?: unknown, [more: string]: unknown}} props `to`: from `url`.
 */
export function Link({ to, children, ...more }) {
  const click = (/** @type {MouseEvent} */ event) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  return html`<a href=${to} onClick=${click} ...${more}>${children}</a>`;
}
