// Charts over time, each with the same numbers as a table. Lines differ by dash and not by colour alone.
import { html, useEffect, useRef, useState } from "./lib.js";
import { absolute } from "./format.js";
import { read, useSetting } from "./prefs.js";
import { Table } from "./table.js";

/** A classic script of index.html: it is no module. @type {any} */
const Plot = /** @type {any} */ (window).uPlot;
const DASHES = [[], [6, 4], [2, 3]];
const HEIGHT = 150;
// More rows than these say nothing to a reader.
const ROWS = 60;

/**
 * @typedef {{name: string, tone: string, values: (number | null)[]}} Line `tone`: accent, good, warn, bad.
 * @param {object} props
 * @param {string} props.title What is shown, with the unit.
 * @param {number[]} props.times In seconds since 1970.
 * @param {Line[]} props.lines
 * @param {(value: number | null) => string} props.show A value as text.
 * @param {string} [props.empty] What to say where nothing is.
 */
export function Chart({ title, times, lines, show, empty = "Nothing in this time." }) {
  const place = useRef(/** @type {any} */ (null));
  const legend = useRef(/** @type {any} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  const scheme = useScheme();
  const utc = useSetting("utc") === "on";
  const few = lines.map((line) => line.values.filter((each) => each !== null).length < 60).join();
  const names = lines.map((line) => line.name).join();
  useEffect(() => {
    if (!Plot || !place.current) return;
    const colours = [...legend.current.querySelectorAll("svg")].map((each) => getComputedStyle(each).color);
    const text = getComputedStyle(legend.current).color;
    const grid = { stroke: getComputedStyle(place.current).outlineColor, width: 1 };
    const axis = { stroke: text, grid, ticks: { show: false }, font: "11px system-ui", gap: 4 };
    plot.current = new Plot({
      width: place.current.clientWidth, height: HEIGHT, legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { range: (/** @type {any} */ _, /** @type {number} */ from, /** @type {number} */ until) => (until - from < 60 ? [until - 60, until] : [from, until]) }, y: { range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) => [0, Math.max(high ?? 0, low ?? 0, 1e-3) * 1.1] } },
      axes: [
        { ...axis, size: 24, space: 70, values: (/** @type {any} */ _, /** @type {number[]} */ splits) => clock(splits, utc) },
        { ...axis, size: 62, values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map((each) => show(each)) },
      ],
      series: [{}, ...lines.map((line, index) => ({
        label: line.name, stroke: colours[index], width: 1.6, dash: DASHES[index], spanGaps: false,
        // A few points far from each other make no line.
        points: { show: line.values.filter((each) => each !== null).length < 60, size: 4 },
      }))],
    }, [times, ...lines.map((line) => line.values)], place.current);
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: place.current.clientWidth, height: HEIGHT }));
    resized.observe(place.current);
    return () => {
      resized.disconnect();
      plot.current.destroy();
      plot.current = null;
    };
  }, [names, scheme, utc, few]);
  useEffect(() => plot.current?.setData([times, ...lines.map((line) => line.values)]));
  const some = lines.some((line) => line.values.some((value) => value !== null));
  const newest = lines.map((line) => `${line.name} ${show(last(line.values))}`).join(", ");
  return html`<section class="chart" aria-label=${title}>
    <h2>${title}</h2>
    <ul class="legend" ref=${legend}>${lines.map((line, index) => html`<li key=${line.name}>
      <svg width="22" height="8" aria-hidden="true" class=${line.tone}><line x1="0" x2="22" y1="4" y2="4" stroke="currentColor"
        stroke-width="2" stroke-dasharray=${(DASHES[index] ?? []).join(" ")} /></svg>${line.name} <b>${show(last(line.values))}</b></li>`)}</ul>
    <div class="plot" ref=${place} role="img" aria-label=${`${title}. Newest: ${newest}`}></div>
    ${!some && html`<p class="dim">${empty}</p>`}
    <${Twin} title=${title} times=${times} lines=${lines} show=${show} />
  </section>`;
}

/** The same as a table, newest first; made when it is opened. @param {any} props */
function Twin({ title, times, lines, show }) {
  const [open, set] = useState(false);
  const rows = open ? times.map((/** @type {number} */ at, /** @type {number} */ index) => ({ at, index })).slice(-ROWS).reverse() : [];
  const columns = [
    { name: "Time", cell: (/** @type {any} */ row) => absolute(new Date(row.at * 1000).toISOString(), read("utc") === "on").slice(5, 19) },
    ...lines.map((/** @type {Line} */ line) => ({ name: line.name, number: true, cell: (/** @type {any} */ row) => show(line.values[row.index] ?? null) })),
  ];
  return html`<details onToggle=${(/** @type {any} */ event) => set(event.target.open)}><summary>As a table</summary>
    ${open && html`<${Table} caption=${`${title}, the newest ${ROWS} points`} columns=${columns} rows=${rows} id=${(/** @type {any} */ row) => String(row.at)} />`}</details>`;
}

/** Times of an axis: days where they are more than a day apart, seconds where they are less than a minute.
 * @param {number[]} splits @param {boolean} utc */
function clock(splits, utc) {
  const step = (splits[1] ?? 0) - (splits[0] ?? 0);
  const [from, until] = step >= 86_400 ? [5, 10] : step >= 21_600 ? [5, 16] : step < 60 ? [11, 19] : [11, 16];
  return splits.map((each) => absolute(new Date(each * 1000).toISOString(), utc).slice(from, until));
}

/** @param {(number | null)[]} values */
const last = (values) => values.at(-1) ?? null;

/** Changes when the colours do. */
function useScheme() {
  const chosen = useSetting("scheme");
  const [dark, set] = useState(matchMedia("(prefers-color-scheme: dark)").matches);
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const tell = () => set(query.matches);
    query.addEventListener("change", tell);
    return () => query.removeEventListener("change", tell);
  }, []);
  return chosen || String(dark);
}
