// Why a job waits, and what would start it, as ExplainJob says.
import { useData } from "./data.js";
import { html } from "./lib.js";
import { Band, Failed, Time } from "./parts.js";
import { Link, path, url } from "./router.js";
import { words } from "./format.js";

const AGAIN_MS = 3000;

/** @param {{id: string, live: boolean}} props */
export function Explain({ id, live }) {
  const { data, error } = useData(`v1/jobs/${encodeURIComponent(id)}:explain`, { every: live ? AGAIN_MS : 0 });
  if (error && !data) return html`<${Failed} error=${error} what="Why it waits" />`;
  if (!data) return html`<p class="dim loading">Asking why it waits…</p>`;
  return html`<section aria-labelledby="explain" data-explain=${data.reasons[0]?.code ?? ""}>
    <h2 id="explain">Why it waits</h2>
    <p><b>${data.summary}</b></p>
    <ol class="reasons">
      ${data.reasons.map((/** @type {any} */ reason) => html`<li key=${reason.code}>
        <span class="label">${words(reason.code)}</span> ${reason.message}
        ${reason.unblocked_by?.length > 0 && html`<div class="dim">What would end it:
          ${reason.unblocked_by.map((/** @type {string} */ each) => html` <${Remedy} key=${each} text=${each} />`)}</div>`}
      </li>`)}
    </ol>
    ${data.could_start_at && html`<p>It can start <${Time} at=${data.could_start_at} /> at the earliest.</p>`}
    ${data.estimate && html`<${Estimate} of=${data.estimate} />`}
    ${data.name?.message && html`<p class="dim">${data.name.message}.</p>`}
    ${data.unknown?.length > 0 && html`<${Band} tone="calm">Workers of these servers are left out, since they were not heard: ${data.unknown.join(", ")}<//>`}
  </section>`;
}

/** @param {{of: any}} props */
const Estimate = ({ of }) => html`<p>About ${of.ahead}${of.capped ? " or more" : ""} jobs go before it.
  ${of.latest_at ? html`It starts between <${Time} at=${of.earliest_at} /> and <${Time} at=${of.latest_at} />, if jobs end as in the last minute.`
    : of.earliest_at && html`It hardly starts before <${Time} at=${of.earliest_at} />.`}</p>`;

/** A method with what it is called on, such as `ResumeQueue reports`: a link to where that can be done. @param {{text: string}} props */
function Remedy({ text }) {
  const [, method, name] = /^(ResumeQueue|UpdateQueue|CancelJob|RetryJob) (\S+)$/.exec(text) ?? [];
  if (!method || !name) return html`<code>${text}</code>`;
  const to = method.endsWith("Queue") ? url(path("queues", name)) : url(path("jobs", name));
  return html`<${Link} to=${to}><code>${text}</code><//>`;
}
