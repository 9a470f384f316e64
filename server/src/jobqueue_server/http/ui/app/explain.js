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
    ${data.reasons.length > 1 ? html`<ol class="reasons">
      ${data.reasons.map((/** @type {any} */ reason) => html`<li key=${reason.code}><${Code} of=${reason.code} /> ${reason.message}${" "}
        <${Remedies} of=${reason.unblocked_by} /></li>`)}
    </ol>` : html`<p><${Code} of=${data.reasons[0]?.code} /> <${Remedies} of=${data.reasons[0]?.unblocked_by} /></p>`}
    ${data.could_start_at && html`<p>It can start <${Time} at=${data.could_start_at} /> at the earliest.</p>`}
    ${data.estimate && html`<${Estimate} of=${data.estimate} />`}
    ${data.name?.message && html`<p class="dim">${data.name.message}.</p>`}
    ${data.unknown?.length > 0 && html`<${Band} tone="calm">Workers of these servers are left out, since they were not heard: ${data.unknown.join(", ")}<//>`}
  </section>`;
}

/** @param {{of: any}} props */
const Estimate = ({ of }) => html`<p>About ${of.ahead}${of.capped ? " or more" : ""} jobs go before it.${" "}
  ${of.latest_at ? html`It starts between <${Time} at=${of.earliest_at} /> and <${Time} at=${of.latest_at} />, if jobs end as in the last minute.`
    : of.earliest_at && html`It hardly starts before <${Time} at=${of.earliest_at} />.`}</p>`;

/** @param {{of: string}} props */
const Code = ({ of }) => html`<span class="label">${words(of)}</span>`;

/** What would end it; a method is a link to where it can be called. @param {{of?: string[]}} props */
const Remedies = ({ of = [] }) => of.length > 0 && html`<span class="dim">ended by: ${of.map((text, index) => html`${index > 0 && " or "}<${Remedy} text=${text} />`)}</span>`;

/** A method with what it is called on, such as `ResumeQueue reports`, or words. @param {{text: string}} props */
function Remedy({ text }) {
  const [, method, name] = /^([A-Z][a-z]+[A-Z]\w+) (\S+)$/.exec(text) ?? [];
  if (!method || !name) return text;
  const to = /^(ResumeQueue|UpdateQueue)$/.test(method) ? path("queues", name) : /^(CancelJob|RetryJob)$/.test(method) ? path("jobs", name) : "";
  return to ? html`<${Link} to=${url(to)}><code>${text}</code><//>` : html`<code>${text}</code>`;
}
