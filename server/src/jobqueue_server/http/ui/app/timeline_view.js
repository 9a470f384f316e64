// Draws the life of a job: a row for each wait and attempt, newest first and open, each with its bar in proportion.
import { html, useState } from "./lib.js";
import { bars, spans } from "./timeline.js";
import { duration } from "./format.js";
import { Copy, Time } from "./parts.js";

/** @typedef {import("./timeline.js").Span} Span */

/** @param {{job: import("./timeline.js").Life, now: number}} props */
export function Timeline({ job, now }) {
  const all = spans(job, now);
  const places = bars(all);
  if (!all.length) return html`<p class="dim">Nothing has happened yet.</p>`;
  const rows = all.map((each, at) => ({ each, place: places[at] ?? { left: 0, width: 0 }, key: `${at}` })).reverse();
  // The newest attempt is open; where it failed its error is what the reader has come for.
  const newest = rows.find(({ each }) => each.type !== "wait")?.key;
  return html`<ol class="timeline" aria-label="Attempts and waits, newest first">
    ${rows.map(
      ({ each, place, key }) =>
        html`<${Row} key=${key} each=${each} place=${place} opened=${key === newest} span=${span} Moment=${Moment} />`,
    )}
  </ol>`;
}

/** @param {{each: Span, place: {left: number, width: number}, opened: boolean}} props */
function Row({ each, place, opened }) {
  const [open, setOpen] = useState(opened);
  const [stack, setStack] = useState(false);
  const title = each.type === "wait" ? each.label : `Attempt ${each.attempt}: ${each.label}`;
  const lasted = duration((each.to - each.from) / 1000);
  const toggle = (/** @type {Event} */ event) => setOpen(/** @type {HTMLDetailsElement} */ (event.currentTarget).open);
  const [line, rest] = headOf(each.error ?? "");
  return html`<li class=${`span span-${each.type} look-${each.look}`} data-span=${each.type}>
    <details open=${open} onToggle=${toggle}>
      <summary>
        <span class="span-title">${title}</span>
        <span class="span-lasted">${each.open && each.type === "run" ? `for ${lasted}` : lasted}</span>
        <span class="span-track" aria-hidden="true">
          <span class="span-bar" style=${{ left: `${place.left}%`, width: `${place.width}%` }}></span>
        </span>
      </summary>
      <div class="span-more">
        ${line && html`<p class="span-error">${each.error_type && html`<b>${each.error_type}</b>: `}${line}</p>`}
        ${
          rest &&
          html`<p>
              <button type="button" class="small" aria-expanded=${stack} onClick=${() => setStack(!stack)}>
                ${stack ? "Fold" : "Show"} ${rest.split("\n").length} more lines
              </button>
              <${Copy} text=${each.error} label="Copy error" />
            </p>
            ${stack && html`<pre class="span-stack" tabindex="0">${rest}</pre>`}`
        }
        <p class="dim">
          <${Moment} time=${each.from} /> to
          ${each.open && each.to <= Date.now() + 1000 ? "now" : html`<${Moment} time=${each.to} />`}
          ${each.worker && html`, by worker <b>${each.worker}</b>`}
          ${each.type === "unknown" && ". It waited, then ran; when the attempt began is not kept."}
        </p>
      </div>
    </details>
  </li>`;
}

/** @param {number} ms */
const iso = (ms) => new Date(ms).toISOString();

/** The first line of an error, and the others. Of a Python traceback the last line says what it was. @param {string} text @returns {[string, string]} */
function headOf(text) {
  const lines = text.trimEnd().split("\n");
  if (lines.length < 2) return [lines[0] ?? "", ""];
  if (/^Traceback/.test(lines[0] ?? "")) return [lines.at(-1) ?? "", lines.join("\n")];
  return [lines[0] ?? "", lines.slice(1).join("\n")];
}
