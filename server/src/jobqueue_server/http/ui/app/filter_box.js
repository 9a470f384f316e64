// The field in which the filter is typed: a combobox whose suggestions the keyboard walks through.
import { accept, complete } from "./complete.js";
import { parse } from "./filter.js";
import { html, useEffect, useRef, useState } from "./lib.js";
import { Options, ofField, step } from "./options.js";

/** @typedef {import("./complete.js").Known} Known */

/**
 * @param {object} props
 * @param {string} props.line The filter that the page shows.
 * @param {Known} props.known
 * @param {(line: string) => void} props.onApply Gets a line that the API can serve.
 */
export function FilterBox({ line, known, onApply }) {
  const [draft, setDraft] = useState(line);
  const [cursor, setCursor] = useState(line.length);
  const [open, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  // The blank after a token that was just applied stays: the next one is typed behind it.
  useEffect(() => setDraft((last) => (last.trim() === line ? last : line)), [line]);
  const completion = complete(draft, cursor, known);
  const options = open ? completion.options : [];
  // What is being typed is not judged yet.
  const problems = parse(draft).problems.filter(({ at, end }) => !open || cursor < at || cursor > end);

  const write = (/** @type {string} */ text, /** @type {number} */ at) => {
    setDraft(text);
    setCursor(at);
    setActive(-1);
    // What was typed before the next frame is behind it.
    requestAnimationFrame(() => input.current?.value === text && input.current.setSelectionRange(at, at));
  };
  const apply = (/** @type {string} */ text) => {
    setOpen(false);
    setActive(-1);
    if (!parse(text).problems.length) onApply(text.trim());
  };
  const take = (/** @type {number} */ index) => {
    const option = options[index];
    if (!option) return;
    const next = accept(draft, completion, option);
    write(next.line, next.cursor);
    // A field wants its value next; a whole token is applied at once.
    if (option.insert.endsWith(" ")) apply(next.line);
    setOpen(!option.insert.endsWith(" "));
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const many = options.length;
    const next = many ? step(event.key, active, many) : null;
    if (event.key === "ArrowDown" && !open) setOpen(true);
    else if (next !== null) setActive(next);
    else if (event.key === "Enter" && active >= 0) take(active);
    else if (event.key === "Enter") apply(draft);
    // Tab takes what is offered where something was typed; else it goes on, as everywhere.
    else if (event.key === "Tab" && !event.shiftKey && many && completion.to > completion.from) take(Math.max(active, 0));
    else if (event.key === "Escape" && open) setOpen(false);
    else if (event.key === "Escape") input.current?.blur();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const typed = (/** @type {any} */ event) => {
    setDraft(event.target.value);
    setCursor(event.target.selectionStart ?? event.target.value.length);
    setActive(-1);
    setOpen(true);
  };
  const moved = (/** @type {any} */ event) => setCursor(event.target.selectionStart ?? 0);
  return html`<form class="filter-box" role="search" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
    <div class="filter-line">
      <input ref=${input} data-filter type="text" ...${ofField("filter-options", active, options.length)}
        aria-label="Filter of jobs" aria-describedby="filter-problems" aria-invalid=${problems.length > 0}
        placeholder="status:failed queue:mail label:tenant=7 created:<2h"
        value=${draft} onInput=${typed} onKeyDown=${keys} onKeyUp=${moved} onClick=${moved}
        onFocus=${(/** @type {any} */ event) => (moved(event), setOpen(true))} onBlur=${() => setOpen(false)} />
      ${draft && html`<button type="button" class="small" onClick=${() => (write("", 0), apply(""))}>Clear</button>`}
      <${Options} id="filter-options" options=${options.map((option) => ({ ...option, key: option.insert }))} active=${active} take=${take} />
    </div>
    <ul id="filter-problems" class="filter-problems">
      ${problems.map(({ message }) => html`<li key=${message} class="wrong">${message}</li>`)}
    </ul>
  </form>`;
}
