// Workers that were lost while this tab was open. The server forgets a session that has ended; its jobs are what is left of it.
import { call } from "./api.js";
import { useAuth } from "./auth.js";
import { shortId } from "./format.js";
import { html, useEffect, useState } from "./lib.js";
import { Link, path, url } from "./router.js";

/** Those that were silent when they were read last, by session. @type {Map<string, any>} */
const silent = new Map();
/** Of which key they are: another one may not see them. */
let of = 0;
const KEPT_MS = 600_000;
const SHOWN = 3;

/**
 * Those of the silent ones that have gone since.
 * @param {any[] | null} rows The workers that there are; null: not known yet.
 * @returns {any[]} Workers whose state is LOST, with the jobs that they had.
 */
export function useLost(rows) {
  const [, again] = useState(0);
  const { turn } = useAuth();
  if (of !== turn) silent.clear();
  of = turn;
  useEffect(() => {
    for (const [id, { ends_at }] of silent) if (Date.now() - Date.parse(ends_at) > KEPT_MS) silent.delete(id);
    for (const worker of rows ?? []) {
      const id = worker.session_id;
      const known = silent.get(id);
      // One that is heard again has kept its jobs.
      if (worker.state !== "SILENT") silent.delete(id);
      else silent.set(id, { ...worker, jobs: known?.jobs ?? [] });
      if (worker.state !== "SILENT" || known) continue;
      // Once, while it can still be asked for.
      call(`v1/${path("workers", id)}`).then(({ jobs = [] }) => silent.has(id) && silent.set(id, { ...silent.get(id), jobs }), () => {});
    }
    again((count) => count + 1);
  }, [rows]);
  if (!rows) return [];
  const there = new Set(rows.map(({ session_id }) => session_id));
  const gone = [...silent.values()].filter(({ session_id, ends_at }) => {
    return !there.has(session_id) && Date.now() > Date.parse(ends_at);
  });
  return gone.map((worker) => ({ ...worker, state: "LOST", free_slots: 0 }));
}

/** The jobs that a lost worker had: their pages say what became of them. @param {{jobs: any[]}} props */
export const LostJobs = ({ jobs }) => html`${jobs.slice(0, SHOWN).map(({ job_id }, index) => html`${index > 0 && ", "}<${Link} key=${job_id} class="mono" title=${job_id}
  to=${url(path("jobs", job_id))}>${shortId(job_id)}<//>`)}${jobs.length > SHOWN && ` and ${jobs.length - SHOWN} more`}`;
