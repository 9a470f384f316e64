// Whether the server is there. Calls tell; while it is away one small call asks again, ever less often.
import { useEffect, useState } from "./lib.js";
import { watched } from "./watched.js";

const FIRST_MS = 300;
const LONGEST_MS = 2000;

const { tell, use } = watched();

class Connection {
  /** When it went, by this browser's clock; 0: it is there. */
  lostAt = 0;
  /** Raised each time it comes back: then data is read anew. */
  returns = 0;

  /** A call did not reach it. */
  lost() {
    if (this.lostAt) return;
    this.lostAt = Date.now();
    tell();
    this.#askAgain(FIRST_MS);
  }

  /** A call did. */
  reached() {
    if (!this.lostAt) return;
    this.lostAt = 0;
    this.returns += 1;
    tell();
  }

  /** @param {number} wait */
  #askAgain(wait) {
    // A little of chance, so that all tabs don't ask at once.
    setTimeout(async () => {
      if (!this.lostAt) return;
      if (!document.hidden) {
        try {
          const answer = await fetch(new URL("../readyz", document.baseURI), { cache: "no-store" });
          if (answer.ok) return void this.reached();
        } catch {
          // Still away.
        }
      }
      this.#askAgain(Math.min(wait * 1.6, LONGEST_MS));
    }, wait * (0.75 + Math.random() / 2));
  }
}

export const connection = new Connection();

/** Draws again when the server goes or comes; how often it came back. */
export function useConnection() {
  use();
  return { lostAt: connection.lostAt, returns: connection.returns };
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
