// Charts over time, each with the same numbers as a table. Lines differ by dash and not by colour alone.
import { html, useLayoutEffect, useRef, useState } from "./lib.js";
import { absolute } from "./format.js";
import { line, nearest, ticks, timeTicks } from "./plot.js";
import { read, useSetting } from "./prefs.js";
import { Table } from "./table.js";

const DASHES = ["", "6 4", "2 3"];
const HEIGHT = 150;
/** How much room the numbers have left of the lines, and the times below them. */
const [LEFT, BELOW, MARGIN] = [62, 20, 8];
// More rows than these say nothing to a reader.
const ROWS = 60;

/**
 * @typedef {{name: string, tone: string, values: (number | null)[]}} Line `tone`: live, good, warn, bad.
 * @param {object} props
 * @param {string} props.title What is shown, with the unit.
 * @param {number[]} props.times In seconds since 1970.
 * @param {Line[]} props.lines
 * @param {(value: number | null) => string} props.show A value as text.
 * @param {string} [props.empty] What to say where nothing is.
 */
export function Chart({ title, times, lines, show, empty = "Nothing in this time." }) {
  // The time under the pointer, for which the values are shown; null: the newest.
  const [at, point] = useState(/** @type {number | null} */ (null));
  const index = at === null ? times.length - 1 : nearest(times, at);
  const value = (/** @type {Line} */ each) => show(each.values[index] ?? null);
  const some = lines.some((each) => each.values.some((one) => one !== null));
  return html`<section class="chart" aria-label=${title}>
    <h2>${title}</h2>
    <ul class="legend">${lines.map((each, nth) => html`<li key=${each.name}>
      <svg width="22" height="8" aria-hidden="true" class=${each.tone}><line x1="0" x2="22" y1="4" y2="4" stroke-dasharray=${DASHES[nth]} /></svg>${each.name} <b>${value(each)}</b></li>`)}</ul>
    <${Plot} times=${times} lines=${lines} show=${show} at=${at === null ? null : (times[index] ?? null)} point=${point}
      label=${`${title}. Newest: ${lines.map((each) => `${each.name} ${show(each.values.at(-1) ?? null)}`).join(", ")}`} />
    ${!some && html`<p class="dim">${empty}</p>`}
    <${Twin} title=${title} times=${times} lines=${lines} show=${show} />
  </section>`;
}

/** @param {{times: number[], lines: Line[], show: (value: number | null) => string, at: number | null, point: (at: number | null) => void, label: string}} props */
function Plot({ times, lines, show, at, point, label }) {
  const place = useRef(/** @type {any} */ (null));
  const [width, setWidth] = useState(0);
  const utc = useSetting("utc") === "on";
  useLayoutEffect(() => {
    const resized = new ResizeObserver(() => setWidth(place.current.clientWidth));
    resized.observe(place.current);
    return () => resized.disconnect();
  }, []);
  const until = times.at(-1) ?? Date.now() / 1000;
  const from = Math.min(times[0] ?? until, until - 60);
  const perSecond = Math.max(1, width - LEFT - MARGIN) / (until - from);
  // Where all is zero the axis has no numbers but that.
  const most = Math.max(0, ...lines.flatMap((each) => each.values.map((value) => value ?? 0)));
  const highest = most * 1.1 || 1;
  const x = (/** @type {number} */ time) => LEFT + (time - from) * perSecond;
  const y = (/** @type {number} */ value) => HEIGHT - BELOW - (value / highest) * (HEIGHT - BELOW - MARGIN);
  const offset = utc ? 0 : -60 * new Date().getTimezoneOffset();
  const below = timeTicks(from, until, (width - LEFT) / 70, offset);
  const move = (/** @type {any} */ event) => point(from + (event.clientX - place.current.getBoundingClientRect().left - LEFT) / perSecond);
  const right = at !== null && x(at) > width / 2;
  // Half a job is shown as one, and so is one.
  const apart = (/** @type {number} */ value, /** @type {number} */ index, /** @type {number[]} */ all) =>
    index === all.length - 1 || show(value) !== show(all[index + 1] ?? null);
  return html`<div class="plot" ref=${place}>${width > 0 && html`<svg width=${width} height=${HEIGHT} role="img" aria-label=${label}
    onPointerMove=${move} onPointerLeave=${() => point(null)}>
    ${(most ? ticks(highest, 4).filter(apart) : [0]).map((value) => html`<line key=${value} x1=${LEFT} x2=${width} y1=${y(value)} y2=${y(value)} />
      <text x=${LEFT - 6} y=${y(value) + 4} text-anchor="end">${show(value)}</text>`)}
    ${below.times.map((time) => html`<line key=${time} x1=${x(time)} x2=${x(time)} y1=${MARGIN} y2=${HEIGHT - BELOW} />
      <text x=${x(time) > width - 28 ? width : x(time)} y=${HEIGHT - 5} text-anchor=${x(time) > width - 28 ? "end" : "middle"}>${clock(time, utc, below.step)}</text>`)}
    ${lines.map((each, index) => {
      const drawn = line(each.values, (nth) => x(times[nth] ?? 0), y);
      return html`<path key=${each.name} class=${each.tone} stroke-dasharray=${DASHES[index]} d=${drawn.line} />
        ${drawn.dots && html`<path key=${`${each.name}.`} class="dots ${each.tone}" d=${drawn.dots} />`}`;
    })}
    ${at !== null && html`<line class="at" x1=${x(at)} x2=${x(at)} y1=${MARGIN} y2=${HEIGHT - BELOW} />
      <text x=${x(at) + (right ? -4 : 4)} y=${MARGIN + 8} text-anchor=${right ? "end" : "start"}>${clock(at, utc, 1)}</text>`}
  </svg>`}</div>`;
}

/** A line without axes, as high as a line of text. @param {{values: number[], label: string}} props */
export function Spark({ values, label }) {
  const highest = Math.max(...values, 1e-3);
  const drawn = line(values, (index) => 1 + (index * 88) / Math.max(1, values.length - 1), (value) => 17 - (value / highest) * 15);
  return html`<svg class="spark live" width="90" height="18" role="img" aria-label=${label}><path d=${drawn.line || drawn.dots} /></svg>`;
}

/** The same as a table, newest first; made when it is opened. @param {any} props */
function Twin({ title, times, lines, show }) {
  const [open, set] = useState(false);
  const rows = open ? times.map((/** @type {number} */ at, /** @type {number} */ index) => ({ at, index })).slice(-ROWS).reverse() : [];
  const columns = [
    { name: "Time", cell: (/** @type {any} */ row) => clock(row.at, read("utc") === "on", 0) },
    ...lines.map((/** @type {Line} */ each) => ({ name: each.name, number: true, cell: (/** @type {any} */ row) => show(each.values[row.index] ?? null) })),
  ];
  return html`<details onToggle=${(/** @type {any} */ event) => set(event.target.open)}><summary>As a table</summary>
    ${open && html`<${Table} caption=${`${title}, the newest ${ROWS} points`} columns=${columns} rows=${rows} id=${(/** @type {any} */ row) => String(row.at)} />`}</details>`;
}

/** A time as a chart has it: the day where ticks are a day apart, seconds where they are less than a minute; 0: both.
 * @param {number} at @param {boolean} utc @param {number} step */
function clock(at, utc, step) {
  const [from, until] = step === 0 ? [5, 19] : step >= 86_400 ? [5, 10] : step >= 21_600 ? [5, 16] : step < 60 ? [11, 19] : [11, 16];
  return absolute(new Date(at * 1000).toISOString(), utc).slice(from, until);
}
