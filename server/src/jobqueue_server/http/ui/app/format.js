// Numbers, times and names as people read them. Nothing here touches the page.

/** Seconds of a Duration as JSON has it, such as "3.5s"; null where there is none.
 * @param {string | null | undefined} text */
export function seconds(text) {
  if (!text) return null;
  const value = Number.parseFloat(text);
  return Number.isFinite(value) ? value : null;
}

/** A time of so many seconds, by its two largest units: `420 ms`, `3.2 s`, `4 min 10 s`, `2 d 3 h`.
 * @param {number | null | undefined} value */
export function duration(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const sign = value < 0 ? "-" : "";
  const size = Math.abs(value);
  if (size < 0.0005) return "0 s";
  if (size < 0.9995) return `${sign}${Math.round(size * 1000)} ms`;
  if (size < 9.95) return `${sign}${size.toFixed(1).replace(/\.0$/, "")} s`;
  const whole = Math.round(size);
  if (whole < 60) return `${sign}${whole} s`;
  for (const [unit, length, below, part] of /** @type {const} */ ([
    ["min", 60, "s", 1],
    ["h", 3600, "min", 60],
    ["d", 86400, "h", 3600],
  ])) {
    if (whole < length * (unit === "min" ? 60 : unit === "h" ? 24 : Infinity)) {
      const rest = Math.floor((whole % length) / part);
      return `${sign}${Math.floor(whole / length)} ${unit}${rest ? ` ${rest} ${below}` : ""}`;
    }
  }
  return `${sign}${whole} s`;
}

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/**
 * A count: `12`, `10,000+` where counting stopped at a bound. Counts of 64 bits come as text.
 * @param {number | string | null | undefined} value @param {boolean} [capped]
 */
export function count(value, capped = false) {
  if (value === null || value === undefined || value === "") return "–";
  const shown = typeof value === "string" && /^-?\d+$/.test(value) ? grouped.format(BigInt(value)) : grouped.format(Number(value));
  return capped ? `${shown}+` : shown;
}

/** So many a second: `0`, `0.4/s`, `12/s`, `1,204/s`. @param {number | null | undefined} value */
export function rate(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0/s";
  if (value < 0.01) return "<0.01/s";
  if (value < 0.995) return `${value.toFixed(2).replace(/0$/, "")}/s`;
  if (value < 9.95) return `${value.toFixed(1).replace(/\.0$/, "")}/s`;
  return `${grouped.format(value)}/s`;
}

/** A part of a whole: `0 %`, `0.3 %`, `12 %`. @param {number | null} value */
export function percent(value) {
  if (value === null || !Number.isFinite(value)) return "–";
  if (value > 0 && value < 0.1) return "<0.1 %";
  return `${value < 10 ? Number(value.toFixed(1)) : Math.round(value)} %`;
}

/** How long ago a time is, or how far off: `4 s ago`, `in 2 min`.
 * @param {string | null | undefined} time @param {number} now */
export function relative(time, now) {
  if (!time) return "–";
  const ago = (now - Date.parse(time)) / 1000;
  if (Number.isNaN(ago)) return time;
  if (Math.abs(ago) < 1) return "now";
  const size = Math.abs(ago);
  // To the second up to a minute, then by the largest unit: a list is read at a glance.
  const text = size < 60 ? `${Math.floor(size)} s` : duration(size < 3600 ? size - (size % 60) : size - (size % 3600));
  return ago > 0 ? `${text} ago` : `in ${text}`;
}

/** A time in full, to the millisecond, in this zone or in UTC.
 * @param {string | null | undefined} time @param {boolean} [utc] */
export function absolute(time, utc = false) {
  if (!time) return "–";
  const at = new Date(time);
  if (Number.isNaN(at.getTime())) return time;
  const iso = new Date(utc ? at : at.getTime() - at.getTimezoneOffset() * 60_000).toISOString();
  const zone = utc ? "UTC" : offset(at);
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)} ${zone}`;
}

/** @param {Date} at */
function offset(at) {
  const minutes = -at.getTimezoneOffset();
  if (!minutes) return "UTC";
  const size = Math.abs(minutes);
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return `UTC${minutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/** A name of an enum in words: `FAILED_PERMANENT` is `failed permanent`; "" where it is unset. @param {string | undefined} name */
export const words = (name) => (!name || name.endsWith("_UNSPECIFIED") ? "" : name.toLowerCase().replaceAll("_", " "));

/** The shortest part of an id that tells two of one list apart: its end, since ids begin with their time.
 * @param {string} id */
export const shortId = (id) => `…${id.slice(-8)}`;

/** A sentence of the server's, which begins in lower case and has no full stop. @param {string} text */
export const sentence = (text) => (text ? `${text[0]?.toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}` : "");
