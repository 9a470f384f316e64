// Goes to what is typed: a page, a queue, a kind, a schedule, a job by its id, jobs by a filter.
import { useAuth } from "./auth.js";
import { useData } from "./data.js";
import { Modal } from "./dialog.js";
import { parse } from "./filter.js";
import { html, useState } from "./lib.js";
import { mayRead } from "./may.js";
import { Options, ofField, step } from "./options.js";
import { go, path, url } from "./router.js";

/** @typedef {{text: string, hint: string, key: string, to: string}} Place */

const MOST = 12;
const ID = "palette-options";

/** @param {{pages: (readonly [string, string, string])[], onClose: () => void}} props `pages`: their letters, addresses and names. */
export function Palette({ pages, onClose }) {
  const { access } = useAuth();
  const [typed, setTyped] = useState("");
  const [active, setActive] = useState(0);
  const queues = useData("v1/queues", { query: { page_size: 1000 } }).data?.queues;
  const kinds = useData("v1/kinds", { query: { page_size: 1000 } }).data?.kinds;
  const schedules = useData("v1/schedules", { query: { page_size: 500 } }).data?.schedules;
  const named = (/** @type {any[] | undefined} */ all, /** @type {string} */ hint, /** @type {(name: string) => string} */ to) =>
    (all ?? []).map(({ name }) => place(name, hint, to(name)));
  const options = matching(typed.trim(), [
    ...pages.filter(([, at]) => mayRead(access, at)).map(([letter, at, name]) => place(name, letter && `page, g ${letter}`, url(at))),
    ...named(queues, "queue", (name) => url(path("queues", name))),
    ...named(kinds, "kind", (name) => url("kinds", { name })),
    ...named(schedules, "schedule", (name) => url(path("schedules", name))),
  ]);
  const take = (/** @type {number} */ index) => {
    const option = options[index];
    if (!option) return;
    onClose();
    go(option.to);
  };
  const keys = (/** @type {KeyboardEvent} */ event) => {
    const next = options.length ? step(event.key, active, options.length) : null;
    if (next !== null) setActive(next);
    else if (event.key === "Enter") take(active);
    else return;
    event.preventDefault();
  };
  return html`<${Modal} title="Go to" onClose=${onClose}>
    <input type="text" autofocus aria-label="Page, queue, kind, schedule, id of a job, or a filter of jobs" placeholder="mail, or status:failed, or the id of a job"
      ...${ofField(ID, Math.min(active, options.length - 1), options.length)} value=${typed} onKeyDown=${keys}
      onInput=${(/** @type {any} */ event) => (setTyped(event.target.value), setActive(0))} />
    <${Options} id=${ID} options=${options} active=${active} take=${take} />
    ${!options.length && html`<p class="dim">Nothing is called so.</p>`}
  <//>`;
}

/** @param {string} text @param {string} hint @param {string} to @returns {Place} */
const place = (text, hint, to) => ({ text, hint, to, key: `${hint} ${text}` });

/** Those that begin so, then those that have it within. @param {string} typed @param {Place[]} all */
function matching(typed, all) {
  const filter = parse(typed);
  if (filter.id && !filter.problems.length) return [place(filter.id, "job", url(path("jobs", filter.id)))];
  if (typed.includes(":") && !filter.problems.length) return [place(typed, "jobs by this filter", url("jobs", { q: typed }))];
  const start = typed.toLowerCase();
  const begins = (/** @type {Place} */ { text }) => text.toLowerCase().startsWith(start);
  return [...all.filter(begins), ...all.filter((each) => !begins(each) && each.text.toLowerCase().includes(start))].slice(0, MOST);
}
