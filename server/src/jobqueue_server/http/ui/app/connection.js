// Whether the server is there. Calls tell; while it is away one small call asks again, ever less often.
import { useEffect, useState } from "./lib.js";
import { watched } from "./watched.js";

const FIRST_MS = 300;
const LONGEST_MS = 2000;
/** How long the server may say nothing before it is asked whether it is there, and before it counts as away, in seconds. */
const ASK_AFTER_S = 4;
const SILENT_AFTER_S = 10;

const { tell, use } = watched();

class Connection {
  /** When it went, by this browser's clock; 0: it is there. */
  lostAt = 0;
  /** Whether it takes connections and answers nothing, as a process that was stopped does. */
  silent = false;
  /** Raised each time it comes back: then data is read anew. */
  returns = 0;
  /** For how many seconds nothing came. Counted by ticks: while the tab is hidden or its machine asleep there are none. */
  #quiet = 0;

  constructor() {
    setInterval(() => this.#tick(), 1000);
  }

  /** A call did not reach it. */
  lost() {
    if (!this.lostAt) this.#gone(Date.now(), false);
  }

  /** A call did, or a stream said something. */
  reached() {
    this.#quiet = 0;
    if (!this.lostAt) return;
    this.lostAt = 0;
    this.returns += 1;
    tell();
  }

  /** @param {number} at @param {boolean} silent */
  #gone(at, silent) {
    this.lostAt = at;
    this.silent = silent;
    tell();
    this.#askAgain(FIRST_MS);
  }

  /** A read may take long where there is much to read, so no read has a time of its own: the server is asked something small. */
  #tick() {
    if (document.hidden) this.#quiet = 0;
    if (document.hidden || this.lostAt) return;
    this.#quiet += 1;
    if (this.#quiet === ASK_AFTER_S) ask(SILENT_AFTER_S - ASK_AFTER_S).then(() => this.reached(), (error) => error.name === "TimeoutError" || this.lost());
    if (this.#quiet >= SILENT_AFTER_S) this.#gone(Date.now() - this.#quiet * 1000, true);
  }

  /** @param {number} wait */
  #askAgain(wait) {
    // A little of chance, so that all tabs don't ask at once.
    setTimeout(async () => {
      if (!this.lostAt) return;
      if (!document.hidden) {
        try {
          if ((await ask(SILENT_AFTER_S)).ok) return void this.reached();
        } catch {
          // Still away.
        }
      }
      this.#askAgain(Math.min(wait * 1.6, LONGEST_MS));
    }, wait * (0.75 + Math.random() / 2));
  }
}

/** Whether the server is ready. @param {number} within How long to wait, in seconds: one that was stopped answers never. */
const ask = (within) => fetch(new URL("../readyz", document.baseURI), { cache: "no-store", signal: AbortSignal.timeout(within * 1000) });

export const connection = new Connection();

/** Draws again when the server goes or comes; how it went, and how often it came back. */
export function useConnection() {
  use();
  return { lostAt: connection.lostAt, silent: connection.silent, returns: connection.returns };
}

/** Whether the tab is shown. A hidden one asks for nothing. */
export function useVisible() {
  const [visible, set] = useState(!document.hidden);
  useEffect(() => {
    const tell = () => set(!document.hidden);
    document.addEventListener("visibilitychange", tell);
    return () => document.removeEventListener("visibilitychange", tell);
  }, []);
  return visible;
}
