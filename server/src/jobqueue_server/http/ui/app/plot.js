// Where the parts of a chart stand: ticks of its axes, and lines. Pure; chart.js draws them.

const [MINUTE, HOUR, DAY] = [60, 3600, 86_400];
/** How far ticks of time may be apart, in seconds. */
const TIMES = [
  10, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY,
];

/** Round values from 0 up to the highest, about `count` of them. @param {number} highest @param {number} count @returns {number[]} */
export function ticks(highest, count) {
  const least = highest / count;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = power * ([1, 2, 5].find((each) => each * power >= least) ?? 10);
  return Array.from({ length: Math.floor(highest / step) + 1 }, (_, index) => index * step);
}

/**
 * Round times between these, of the clock that people read, and how far they are apart. In seconds since 1970.
 * @param {number} from @param {number} until @param {number} count The most.
 * @param {number} offset How many seconds that clock is ahead of UTC.
 */
export function timeTicks(from, until, count, offset) {
  const step = TIMES.find((each) => (until - from) / each <= count) ?? 30 * DAY;
  const first = Math.ceil((from + offset) / step) * step - offset;
  return { step, times: Array.from({ length: Math.max(0, Math.floor((until - first) / step) + 1) }, (_, index) => first + index * step) };
}

/**
 * A line through these values, as an SVG path. Where a value is missing the line has a gap, and one that stands alone is a dot.
 * @param {(number | null)[]} values @param {(index: number) => number} x @param {(value: number) => number} y
 */
export function line(values, x, y) {
  const there = (/** @type {number} */ index) => (values[index] ?? null) !== null;
  return values.map((value, index) => {
    if (value === null) return "";
    const lone = !there(index - 1) && !there(index + 1);
    return `${there(index - 1) ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}${lone ? "h0" : ""}`;
  }).join("");
}

/** Which of these ascending times is the nearest; -1: there is none. @param {number[]} times @param {number} at */
export const nearest = (times, at) => times.reduce((best, time, index) => (best < 0 || Math.abs(time - at) < Math.abs((times[best] ?? 0) - at) ? index : best), -1);
