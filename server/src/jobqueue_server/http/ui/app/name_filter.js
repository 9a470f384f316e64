// The field that leaves of a list those whose name begins so. It is in the address.
import { html } from "./lib.js";
import { setQuery } from "./router.js";

/** @param {{name: string}} props What is in it. */
export const NameFilter = ({ name }) => html`<label>Name <input data-filter type="search" value=${name} placeholder="begins with"
  onInput=${(/** @type {any} */ event) => setQuery({ name: event.target.value, page: null })} /></label>`;
