// A list of suggestions below a field: the field keeps the focus, and its arrows walk through the list.
import { html } from "./lib.js";

/** @typedef {{text: string, hint: string, key: string}} Option */

/** What its field has to say of it. @param {string} id @param {number} active @param {number} many */
export const ofField = (id, active, many) => ({
  role: "combobox", autocomplete: "off", spellcheck: false, "aria-autocomplete": "list", "aria-controls": id, "aria-expanded": many > 0,
  "aria-activedescendant": active >= 0 ? `${id}-${active}` : undefined,
});

/** @param {{id: string, options: Option[], active: number, take: (index: number) => void}} props */
export const Options = ({ id, options, active, take }) => html`<ul id=${id} class="options" role="listbox" aria-label="Suggestions" hidden=${!options.length}>
  ${options.map((option, index) => html`<li key=${option.key} id=${`${id}-${index}`} role="option" aria-selected=${index === active}
    ref=${(/** @type {HTMLElement | null} */ element) => index === active && element?.scrollIntoView({ block: "nearest" })}
    onMouseDown=${(/** @type {Event} */ event) => (event.preventDefault(), take(index))}>
    <b>${option.text}</b> <span class="dim">${option.hint}</span></li>`)}</ul>`;

/** Where an arrow leads from here, of so many; null: the key is none. @param {string} key @param {number} active @param {number} many */
export const step = (key, active, many) => (key === "ArrowDown" ? (active + 1) % many : key === "ArrowUp" ? (active > 0 ? active : many) - 1 : null);
