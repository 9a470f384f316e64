// What many pages show: statuses, times, bands, empty states, errors, things to copy.
import { html, useState } from "./lib.js";
import { absolute, relative, words } from "./format.js";
import { setting, useSetting } from "./prefs.js";
import { watched } from "./watched.js";

// Never by colour alone: each has a sign and a word.
/** @type {Record<string, [string, string]>} */
const SIGNS = {
  QUEUED: ["◷", "calm"], RETRYING: ["↻", "warn"], RUNNING: ["▶", "live"], SUCCEEDED: ["✓", "good"],
  FAILED_PERMANENT: ["✕", "bad"], CANCELLED: ["⊘", "calm"], HELD: ["‖", "calm"], PAUSED: ["‖", "warn"],
  CONNECTED: ["●", "good"], DRAINING: ["◐", "warn"], SILENT: ["○", "bad"], OK: ["●", "good"], LOST: ["○", "bad"],
  FIRED: ["✓", "good"], BUFFERED: ["◷", "calm"], REFUSED: ["✕", "bad"],
};

/** @param {{of: string, word?: string}} props A status or state of the contract. */
export function Status({ of, word }) {
  const [sign, tone] = SIGNS[of] ?? ["·", "calm"];
  return html`<span class="status ${tone}"><span aria-hidden="true">${sign}</span> ${word ?? words(of)}</span>`;
}

const seconds = watched();
// One clock for all times of a page: a list has a hundred of them.
setInterval(() => document.hidden || seconds.tell(), 1000);

/** The time, drawn again every second while the tab is shown. */
export function useNow() {
  seconds.use();
  return Date.now();
}

/** A time, relative; in full on hover and for readers of screens.
 * @param {{at: string | null | undefined, full?: boolean}} props */
export function Time({ at, full = false }) {
  const now = useNow();
  const utc = useSetting("utc") === "on";
  if (!at) return html`<span class="dim">–</span>`;
  const whole = absolute(at, utc);
  return html`<time datetime=${at} title=${whole}>${full ? whole : relative(at, now)}</time>`;
}

/** A line across the page that says what is the matter.
 * @param {{tone?: "warn" | "bad" | "calm", children?: unknown}} props */
export const Band = ({ tone = "warn", children }) =>
  html`<div class="band ${tone}"><span aria-hidden="true">${tone === "calm" ? "ℹ" : "⚠"}</span><div>${children}</div></div>`;

/** What to do where there is nothing to show.
 * @param {{title: string, code?: string, children?: unknown}} props */
export const Empty = ({ title, code, children }) => html`
  <div class="empty">
    <h2>${title}</h2>
    ${children}
    ${code && html`<${Code} text=${code} />`}
  </div>`;

/** Text to copy. @param {{text: string, label?: string}} props */
export const Code = ({ text, label }) => html`
  <div class="code"><pre tabindex="0" aria-label=${label ?? "text to copy"}><code>${text}</code></pre><${Copy} text=${text} /></div>`;

/** @param {{text: string, label?: string}} props */
export function Copy({ text, label = "Copy" }) {
  const [done, set] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      set("Copied");
    } catch {
      set("Not allowed: select the text instead");
    }
    setTimeout(() => set(""), 2000);
  };
  return html`<button type="button" class="small" onClick=${copy}>${done || label}</button>`;
}

/**
 * What a call failed by, in place of what it would have shown.
 * @param {{error: import("./api.js").ApiError, what?: string}} props
 */
export function Failed({ error, what = "This" }) {
  if (error.missing) return html`<${Band} tone="calm">${what} is not to be had: this server does not have the method.<//>`;
  if (error.status === 403) return html`<${Band} tone="calm">${what} is not shown: ${error.message}<//>`;
  if (error.status === 401) return html`<${Band} tone="calm">${what} is shown once a key is given.<//>`;
  if (error.status === 0) return html`<${Band}>${what} can't be read: ${error.message}.<//>`;
  return html`<${Band} tone="bad">${what} can't be read: ${error.message}${error.reason && html` <code>${error.reason}</code>`}<//>`;
}

/**
 * One of: what is there, what it failed by, or that it is on its way. What is there stays when a later call fails.
 * @param {{data: import("./data.js").Data<any>, what?: string, children: (data: any) => unknown}} props
 */
export function Loaded({ data, what, children }) {
  return html`
    ${data.error && html`<${Failed} error=${data.error} what=${what} />`}
    ${data.data !== null ? children(data.data) : !data.error && html`<p class="dim loading">Loading…</p>`}`;
}

/** A number with its name, and the window in which it was counted.
 * @param {{name: string, value: unknown, note?: unknown, tone?: string}} props */
export const Figure = ({ name, value, note, tone = "" }) => html`
  <div class="figure ${tone}"><dt>${name}</dt><dd>${value}</dd>${note && html`<dd class="note">${note}</dd>`}</div>`;

/** @param {{labels?: Record<string, string>}} props */
export const Labels = ({ labels }) => Object.keys(labels ?? {}).length === 0 ? html`<span class="dim">–</span>` : html`
  <span class="labels">${Object.entries(labels ?? {}).map(([name, value]) => html`<span class="label" key=${name}>${name}=${value}</span>`)}</span>`;

/** A switch of the page that this browser remembers.
 * @param {{name: string, on: string, off: string, children?: unknown}} props */
export function Switch({ name, on, off, children }) {
  const value = useSetting(name);
  return html`<label class="switch"><input type="checkbox" checked=${value === on}
    onChange=${(/** @type {any} */ event) => setting(name, event.target.checked ? on : off)} /> ${children}</label>`;
}
