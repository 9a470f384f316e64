// Draws the life of a job: a row for each wait and attempt, newest first and open, each with its bar in proportion.
import { headOf } from "./error_text.js";
import { duration } from "./format.js";
import { html, useState } from "./lib.js";
import { Copy, Time } from "./parts.js";
import { bars, spans } from "./timeline.js";

/** @typedef {import("./timeline.js").Span} Span */

/** @param {{job: import("./timeline.js").Life, now: number}} props */
export function Timeline({ job, now }) {
  const all = spans(job, now);
  const places = bars(all);
  if (!all.length) return html`<p class="dim">Nothing has happened yet.</p>`;
  const rows = all.map((each, at) => ({ each, place: places[at] ?? { left: 0, width: 0 }, key: `${each.type}-${at}` })).reverse();
  // The newest attempt is open: where it failed, its error is what the reader has come for.
  const newest = rows.find(({ each }) => each.type !== "wait")?.key;
  return html`<ol class="timeline" aria-label="Attempts and waits, newest first">
    ${rows.map(({ each, place, key }) => html`<${Row} key=${key} each=${each} place=${place} opened=${key === newest} />`)}
  </ol>`;
}

/** @param {{each: Span, place: {left: number, width: number}, opened: boolean}} props */
function Row({ each, place, opened }) {
  const [open, setOpen] = useState(opened);
  const [stack, setStack] = useState(false);
  const title = each.type === "wait" ? each.label : `Attempt ${each.attempt}: ${each.label}`;
  const lasted = duration((each.to - each.from) / 1000);
  const toggle = (/** @type {any} */ event) => setOpen(event.currentTarget.open);
  const [line, rest] = headOf(each.error ?? "");
  const end = each.open && each.type === "run" ? "now" : html`<${Time} at=${iso(each.to)} full />`;
  return html`<li class="span span-${each.type} look-${each.look}" data-span=${each.type}>
    <details open=${open} onToggle=${toggle}>
      <summary>
        <span class="span-title">${title}</span>
        <span class="span-lasted">${lasted}</span>
        <span class="span-track" aria-hidden="true"><span class="span-bar" style=${{ left: `${place.left}%`, width: `${place.width}%` }}></span></span>
      </summary>
      <div class="span-more">
        ${line && html`<p class="span-error">${each.error_type && html`<b>${each.error_type}</b>: `}${line}</p>`}
        ${rest && html`<p><button type="button" class="small" aria-expanded=${stack} onClick=${() => setStack(!stack)}>
            ${stack ? "Fold" : "Show"} all ${rest.split("\n").length} lines</button>
          <${Copy} text=${each.error} label="Copy error" /></p>
          ${stack && html`<pre class="span-stack" tabindex="0" aria-label="error">${rest}</pre>`}`}
        <p class="dim"><${Time} at=${iso(each.from)} full /> to ${end}${each.worker && html`, by worker <b>${each.worker}</b>`}.${" "}
          ${each.type === "unknown" && "The job waited, then ran; when the attempt began is not kept."}</p>
      </div>
    </details>
  </li>`;
}

/** @param {number} ms */
const iso = (ms) => new Date(ms).toISOString();
