// What pages show of a schedule, and what operators do to one.
import { call } from "./api.js";
import { can } from "./auth.js";
import { confirm, say } from "./dialog.js";
import { duration, seconds } from "./format.js";
import { html } from "./lib.js";
import { path } from "./router.js";

/** When it is due, in a line. @param {any} spec */
export function when(spec) {
  const cron = (spec?.cron ?? []).join(" and ");
  const every = spec?.every ? `each ${duration(seconds(spec.every))}` : "";
  return [cron, every].filter(Boolean).join(", ") + (spec?.time_zone ? ` (${spec.time_zone})` : "");
}

const method = (/** @type {any} */ schedule, /** @type {string} */ verb) => `v1/${path("schedules", schedule.name)}:${verb}`;

/** @param {any} schedule */
export const mayChange = (schedule) => can("OPERATE", schedule.job?.queue || "default", schedule.job?.kind) && can("ENQUEUE", schedule.job?.queue || "default", schedule.job?.kind);

/** @param {{schedule: any, reload: () => void}} props The buttons, where they are permitted. */
export function Actions({ schedule, reload }) {
  if (!mayChange(schedule)) return null;
  const pause = () => confirm({
    title: `Pause ${schedule.name}?`, text: "Its ticks pass until it is resumed. Its jobs that are there go on.", ask: "Why", action: "Pause",
    run: (note) => call(method(schedule, "pause"), { method: "POST", body: { note } }),
  }).then((done) => done && (say(`${schedule.name} is paused.`), reload()));
  const resume = () => call(method(schedule, "resume"), { method: "POST", body: {} }).then(
    () => (say(`${schedule.name} goes on.`), reload()), (error) => say(`It was not resumed: ${error.message}`));
  // One id for the whole question: a second try of the same makes no second job.
  const requestId = `ui-${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
  const run = () => confirm({
    title: `Run ${schedule.name} now?`, text: "It enqueues its job once, beside its ticks.", action: "Run now",
    run: async () => {
      const made = await call(method(schedule, "run"), { method: "POST", body: { request_id: requestId } });
      say(made.job_id ? `${schedule.name} enqueued ${made.job_id}.` : `${schedule.name}: ${made.note || made.outcome}`);
    },
  }).then((done) => done && reload());
  return html`<span class="actions">${schedule.paused
    ? html`<button type="button" class="small" onClick=${resume}>Resume</button>`
    : html`<button type="button" class="small" onClick=${pause}>Pause…</button>`}
    ${" "}<button type="button" class="small" onClick=${run}>Run now…</button></span>`;
}
