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

/** A gap in a line is this many times as wide as those on both of its sides. */
const WIDE = 3;

/**
 * A line through these values, as an SVG path, and dots for those that stand alone. A value is missing where nothing happened,
 * which is often: so the line goes on to the next one, however far all are apart, and breaks where a gap is much wider than
 * those beside it.
 * @param {(number | null)[]} values @param {(index: number) => number} x Ascending. @param {(value: number) => number} y
 */
export function line(values, x, y) {
  const points = values.flatMap((value, index) => (value === null ? [] : [{ at: x(index), high: y(value) }]));
  const gap = (/** @type {number} */ index) => (points[index + 1]?.at ?? NaN) - (points[index]?.at ?? NaN);
  // Behind the last point and before the first one there is nothing to go on to.
  const joined = (/** @type {number} */ index) => {
    const beside = [gap(index - 1), gap(index + 1)].filter((each) => !Number.isNaN(each));
    return !Number.isNaN(gap(index)) && (!beside.length || gap(index) <= WIDE * Math.max(...beside));
  };
  const path = { line: "", dots: "" };
  for (const [index, { at, high }] of points.entries()) {
    const place = `${at.toFixed(1)} ${high.toFixed(1)}`;
    if (joined(index - 1)) path.line += `L${place}`;
    else if (joined(index)) path.line += `M${place}`;
    else path.dots += `M${place}h0`;
  }
  return path;
}

/** Which of these ascending times is the nearest; -1: there is none. @param {number[]} times @param {number} at */
export const nearest = (times, at) => times.reduce((best, time, index) => (best < 0 || Math.abs(time - at) < Math.abs((times[best] ?? 0) - at) ? index : best), -1);
