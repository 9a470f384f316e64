/**
 * The clock of a worker: the timers and clocks that were there when this was imported. Fake timers of a test tool, which
 * replace the global ones later, so don't stop heartbeats; import this package before they begin.
 */

const { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, performance, Date } = globalThis;

/** Timers, as the global functions of these names. */
export const timers = { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate };

/** The monotonic clock, in milliseconds. */
export const now: () => number = performance.now.bind(performance);

const wallClock: () => number = Date.now.bind(Date);
const RealDate = Date;

/** The time of day. */
export function today(): Date {
  return new RealDate(wallClock());
}
