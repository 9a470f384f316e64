// Tables: columns that sort, rows that the keyboard walks through, and only those in view once there are many.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./lib.js";
import { go } from "./router.js";

/**
 * @template T
 * @typedef {object} Column
 * @property {string} name Its heading.
 * @property {(row: T) => unknown} cell
 * @property {(row: T) => number | string | null} [sort] By what it sorts; default: it does not.
 * @property {boolean} [number] Right, with digits of one width.
 * @property {boolean} [wide] It takes the room that is left.
 * @property {string} [hint] What the heading means, on hover.
 */

/** From so many rows on, those out of sight are left out. */
const MANY = 200;
const ROW_PX = { compact: 29, roomy: 39 };

/**
 * @template T
 * @param {object} props
 * @param {string} props.caption What the table shows, for readers of screens.
 * @param {Column<T>[]} props.columns
 * @param {T[]} props.rows
 * @param {(row: T) => string} props.id
 * @param {(row: T) => string} [props.to] Where `enter` on a row goes, from `url`.
 * @param {Set<string>} [props.selected] The ids of those that are selected; default: none can be.
 * @param {(ids: Set<string>) => void} [props.onSelect]
 * @param {(row: T) => string} [props.mark] A class of the row.
 */
export function Table({ caption, columns, rows, id, to, selected, onSelect, mark }) {
  const [order, setOrder] = useState(/** @type {[number, 1 | -1] | null} */ (null));
  const [current, setCurrent] = useState("");
  const picked = useRef("");
  const sorted = order ? sortedBy(rows, columns[order[0]]?.sort, order[1]) : rows;
  const body = useRef(/** @type {any} */ (null));
  const [from, until] = useWindow(body, sorted.length);
  const at = Math.max(0, sorted.findIndex((row) => id(row) === current));

  const toggle = (/** @type {string[]} */ ids, on = true) => {
    const next = new Set(selected);
    for (const each of ids) on ? next.add(each) : next.delete(each);
    onSelect?.(next);
  };
  /** Selects a row, or with shift all from the last one that was selected. */
  const pick = (/** @type {number} */ index, /** @type {boolean} */ on, /** @type {boolean} */ range) => {
    const since = range ? sorted.findIndex((row) => id(row) === picked.current) : -1;
    const first = since < 0 ? index : Math.min(since, index);
    toggle(sorted.slice(first, Math.max(since, index) + 1).map(id), on || since >= 0);
    picked.current = id(/** @type {T} */ (sorted[index]));
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const element = /** @type {HTMLElement} */ (event.target);
    if (element.matches("input:not([type=checkbox]), textarea, select")) return;
    // With shift a letter is a capital one.
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[key];
    const row = sorted[at];
    if (step) {
      const next = Math.min(Math.max(at + step, 0), sorted.length - 1);
      focus(next);
      if (event.shiftKey && onSelect) toggle([at, next].map((each) => id(/** @type {T} */ (sorted[each]))));
    } else if (event.key === "Enter" && to && row && element.tagName === "TR") go(to(row));
    else if (key === "x" && row && onSelect) pick(at, !selected?.has(id(row)), event.shiftKey);
    else return;
    event.preventDefault();
  };
  const focus = (/** @type {number} */ index) => {
    const row = sorted[index];
    if (!row) return;
    setCurrent(id(row));
    requestAnimationFrame(() => body.current?.querySelector(`tr[data-index="${index}"]`)?.focus());
  };

  const width = columns.length + (onSelect ? 1 : 0);
  return html`<div class="table" role="region" aria-label=${caption} tabindex="0"><table>
    <caption class="hidden">${caption}</caption>
    <thead><tr>
      ${onSelect && html`<th scope="col" class="check"><input type="checkbox" aria-label="Select all rows in view"
        checked=${rows.length > 0 && rows.every((row) => selected?.has(id(row)))}
        onChange=${(/** @type {any} */ event) => toggle(rows.map(id), event.target.checked)} /></th>`}
      ${columns.map((column, index) => html`<${Heading} key=${column.name} column=${column}
        way=${order?.[0] === index ? order[1] : 0}
        onSort=${() => setOrder(order?.[0] === index ? (order[1] === 1 ? [index, -1] : null) : [index, 1])} />`)}
    </tr></thead>
    <tbody ref=${body} onKeyDown=${keys}>
      ${from > 0 && html`<tr class="gap"><td colspan=${width} ref=${tall(from)}></td></tr>`}
      ${sorted.slice(from, until).map((row, offset) => html`
        <tr key=${id(row)} data-index=${from + offset} data-id=${id(row)} class="${mark?.(row) ?? ""} ${selected?.has(id(row)) ? "selected" : ""}"
          tabindex=${from + offset === at ? 0 : -1} onFocus=${() => setCurrent(id(row))}>
          ${onSelect && html`<td class="check"><input type="checkbox" tabindex="-1" aria-label=${`Select ${id(row)}`}
            checked=${selected?.has(id(row)) ?? false}
            onClick=${(/** @type {any} */ event) => pick(from + offset, event.target.checked, event.shiftKey)} /></td>`}
          ${columns.map((column) => html`<td key=${column.name} class="${column.number ? "number" : ""} ${column.wide ? "wide" : ""}">${column.cell(row)}</td>`)}
        </tr>`)}
      ${until < sorted.length && html`<tr class="gap"><td colspan=${width} ref=${tall(sorted.length - until)}></td></tr>`}
    </tbody></table></div>`;
}

/** @param {{column: Column<any>, way: number, onSort: () => void}} props */
function Heading({ column, way, onSort }) {
  const sort = way === 1 ? "ascending" : way === -1 ? "descending" : "none";
  const sign = way === 1 ? " ▲" : way === -1 ? " ▼" : "";
  return html`<th scope="col" class=${column.number ? "number" : ""} title=${column.hint} aria-sort=${column.sort ? sort : undefined}>
    ${column.sort ? html`<button type="button" onClick=${onSort}>${column.name}<span aria-hidden="true">${sign}</span></button>` : column.name}</th>`;
}

/** @template T @param {T[]} rows @param {((row: T) => any) | undefined} by @param {number} way */
function sortedBy(rows, by, way) {
  if (!by) return rows;
  return [...rows].sort((one, two) => {
    const [left, right] = [by(one), by(two)];
    if (left === right) return 0;
    // Those without a value come last, whichever way.
    if (left === null || left === undefined) return 1;
    if (right === null || right === undefined) return -1;
    return (left < right ? -1 : 1) * way;
  });
}

const rowHeight = () => ROW_PX[document.documentElement.dataset["density"] === "roomy" ? "roomy" : "compact"];

/** Gives a gap the height of the rows that it stands for. @param {number} rows */
const tall = (rows) => (/** @type {HTMLElement | null} */ element) => {
  if (element) element.style.height = `${rows * rowHeight()}px`;
};

/** Which rows to draw. @param {{current: any}} body @param {number} count @returns {[number, number]} */
function useWindow(body, count) {
  const [range, set] = useState(/** @type {[number, number]} */ ([0, MANY]));
  const many = count > MANY;
  const look = () => {
    const top = body.current?.getBoundingClientRect().top ?? 0;
    const first = Math.max(0, Math.floor(-top / rowHeight()) - 50);
    // In steps, so that not every pixel draws anew.
    const from = first - (first % 25);
    set((last) => (last[0] === from ? last : [from, from + MANY]));
  };
  useLayoutEffect(() => {
    if (many) look();
  }, [many]);
  useEffect(() => {
    if (!many) return;
    addEventListener("scroll", look, { passive: true });
    return () => removeEventListener("scroll", look);
  }, [many]);
  return many ? [range[0], Math.min(range[1], count)] : [0, count];
}
