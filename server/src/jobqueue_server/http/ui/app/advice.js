// Says what a call failed by, and what to do about it.
import { html } from "./lib.js";
import { ApiError } from "./api.js";

/** What helps, by reason. @type {Record<string, string>} */
const ADVICE = {
  NOT_ALLOWED: "Your key does not permit it. Ask an administrator for a key that does.",
  JOB_NOT_FOUND: "It was deleted, or its retention has ended.",
  JOB_TERMINAL: "It has ended meanwhile, so there is nothing to cancel.",
  JOB_NOT_TERMINAL: "It has not ended. Cancel it first.",
  JOB_NOT_HELD: "It is not held back, or was released before.",
  FILTER_CHANGED: "Nothing was changed. The new number is below.",
  FILTER_EMPTY: "Choose a queue, a kind, a status or a label first.",
  QUEUE_NOT_FOUND: "A queue is there from its first job on. Choose one that is in the list of queues.",
  PAGE_TOKEN_INVALID: "The page's address is of another filter. Go to the first page.",
  KIND_UNKNOWN: "Declare the kind first.",
  PAYLOAD_INVALID: "Mend the payload; the message names the field.",
  DUPLICATE: "Another job does this work already.",
  TOO_MANY_OPERATIONS: "Wait until some of the operations are done, or stop some.",
  DATABASE_AWAY: "The server can't reach its database. Try again in a while.",
  RATE_LIMITED: "Wait a moment, then try again.",
  SERVERS_DIFFER: "An older server still runs. Upgrade it first.",
};

/** @param {{error: unknown, what?: string}} props `what`: what was tried, such as "The job was not cancelled". */
export function Failure({ error, what = "" }) {
  const told = error instanceof ApiError ? error : new ApiError(0, "", String(error));
  return html`<div class="failure" role="alert">
    <p>${what && html`<b>${what}.</b> `}${told.message}${told.reason && html` <code>${told.reason}</code>`}</p>
    ${ADVICE[told.reason] && html`<p>${ADVICE[told.reason]}</p>`}
  </div>`;
}
