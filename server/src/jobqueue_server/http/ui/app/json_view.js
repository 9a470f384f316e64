// Shows JSON by its text: folded, token by token as it was enqueued, or byte for byte.
import { html, useMemo, useState } from "./lib.js";
import { read } from "./json.js";
import { Copy } from "./parts.js";

/** @typedef {import("./json.js").Node} Node */

/** So many members are drawn at once: a payload may have a hundred thousand. */
const STEP = 100;
/** Above this, nothing is unfolded from the start but the first level. */
const SMALL = 4096;

/**
 * @param {{text: string, name: string, empty?: string}} props `name`: what it is, such as "payload".
 */
export function JsonView({ text, name, empty = "none" }) {
  const node = useMemo(() => parsed(text), [text]);
  const how = useMemo(() => (node !== null && node.type === "object" ? encoded(text, node.members.length) : ""), [node]);
  const [exact, setExact] = useState(false);
  if (!text) return html`<p class="dim">${empty}</p>`;
  const folds = node !== null && node.members.length > 0;
  return html`<div class="json" data-json=${name}>
    ${how && html`<p class="json-encoded">${how}</p>`}
    <div class="json-tools">
      ${
        folds &&
        html`<button type="button" class="small" aria-pressed=${exact} onClick=${() => setExact(!exact)}>
          Exact text
        </button>`
      }
      <${Copy} text=${text} label=${`Copy ${name}`} />
      <span class="dim">${size(text)}</span>
    </div>
    ${
      folds && !exact
        ? html`<div class="json-tree" role="group" aria-label=${name} tabindex="0">
            <${Value} text=${text} node=${node} label="" depth=${0} />
          </div>`
        : html`<pre class="json-text" tabindex="0" aria-label=${name}>${text}</pre>`
    }
  </div>`;
}

/** @param {string} text */
function parsed(text) {
  try {
    return text ? read(text) : null;
  } catch {
    return null; // It is shown as the text that it is.
  }
}

/** How something was encoded, in words, if it is an envelope (docs/encodings.md). @param {string} text @param {number} members */
function encoded(text, members) {
  if (members > 8) return ""; // An envelope has five.
  const envelope = JSON.parse(text);
  if (!("$jobqueue.encoded" in envelope)) return "";
  // It is what a stranger wrote.
  /** @type {unknown[]} */
  const listed = Array.isArray(envelope.encodings) ? envelope.encodings : [];
  const names = listed.filter((each) => typeof each === "string").join(" + ");
  const key = typeof envelope.key_id === "string" ? `, key ${envelope.key_id}` : "";
  return `Encoded, ${names || "by nothing that it names"}${key}. Programs with its encodings read it; servers can't.`;
}

/** @param {string} text */
function size(text) {
  const bytes = new TextEncoder().encode(text).length;
  return bytes < 1024 ? `${bytes} B` : `${(bytes / 1024).toFixed(1)} KiB`;
}

/** A value with its label. @param {{text: string, node: Node, label: string, depth: number}} props */
function Value({ text, node, label, depth }) {
  const key = label && html`<span class="json-key">${label}</span>: `;
  if (!node.members.length) {
    return html`<div class="json-line">
      ${key}<span class=${`json-${node.type}`}>${text.slice(node.start, node.end)}</span>
    </div>`;
  }
  return html`<${Container} text=${text} node=${node} label=${key} depth=${depth} />`;
}

/** An object or an array, which folds. @param {{text: string, node: Node, label: unknown, depth: number}} props */
function Container({ text, node, label, depth }) {
  const [open, setOpen] = useState(depth === 0 || (text.length <= SMALL && depth < 4));
  const [shown, setShown] = useState(STEP);
  const count = node.members.length;
  const [first, last] = node.type === "object" ? "{}" : "[]";
  const what = node.type === "object" ? (count === 1 ? "key" : "keys") : count === 1 ? "value" : "values";
  const toggle = (/** @type {Event} */ event) => setOpen(/** @type {HTMLDetailsElement} */ (event.currentTarget).open);
  return html`<details class="json-fold" open=${open} onToggle=${toggle}>
    <summary>${label}${first}${!open && html` <span class="dim">${count} ${what}</span> ${last}`}</summary>
    ${
      open &&
      html`<div class="json-members">
          ${node.members
            .slice(0, shown)
            .map(
              (member, at) =>
                html`<${Value}
                  key=${at}
                  text=${text}
                  node=${member.value}
                  label=${member.key || String(at)}
                  depth=${depth + 1}
                />`,
            )}
          ${
            shown < count &&
            html`<button type="button" class="small" onClick=${() => setShown(shown + STEP)}>
              Show ${Math.min(STEP, count - shown)} more of ${count}
            </button>`
          }
        </div>
        <div class="json-line">${last}</div>`
    }
  </details>`;
}
