// Data for pages: read once, again every few seconds while the tab is shown, and kept when the server is away.
import { call, stream, wasAborted } from "./api.js";
import { useAuth } from "./auth.js";
import { useConnection, useVisible } from "./connection.js";
import { useCallback, useEffect, useRef, useState } from "./lib.js";

/**
 * @template T
 * @typedef {object} Data
 * @property {T | null} data The newest answer; kept when a later call fails.
 * @property {import("./api.js").ApiError | null} error What the last call failed by.
 * @property {number} at When `data` came, in ms of this browser's clock; 0: not yet.
 * @property {() => void} reload Reads it now.
 */

/**
 * The answer of a GET.
 * @template [T=any]
 * @param {string | null} path Null: there is nothing to read.
 * @param {{query?: Record<string, unknown>, every?: number, read?: (path: string, options: import("./api.js").Options) => Promise<T>}} [options]
 *   `every`: how many ms after an answer it is read again. `read`: instead of `call`.
 * @returns {Data<T>}
 */
export function useData(path, { query = {}, every = 0, read = call } = {}) {
  const [state, set] = useState(/** @type {any} */ ({ data: null, error: null, at: 0, of: "" }));
  const [asked, ask] = useState(0);
  const visible = useVisible();
  const { returns } = useConnection();
  const { turn } = useAuth();
  const what = path === null ? "" : JSON.stringify([path, query, turn]);
  useEffect(() => {
    if (path === null || !visible) return;
    const stop = new AbortController();
    let timer = 0;
    const turnAround = async () => {
      try {
        const data = await read(path, { query, signal: stop.signal });
        if (!stop.signal.aborted) set({ data, error: null, at: Date.now(), of: what });
      } catch (error) {
        if (wasAborted(error) || stop.signal.aborted) return;
        set((/** @type {any} */ last) => ({ ...last, error, of: what, data: last.of === what ? last.data : null }));
        if (hopeless(/** @type {any} */ (error))) return;
      }
      if (every && !stop.signal.aborted) timer = window.setTimeout(turnAround, every);
    };
    turnAround();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [what, visible, returns, asked, every]);
  const reload = useCallback(() => ask((count) => count + 1), []);
  const mine = state.of === what;
  return { data: mine ? state.data : null, error: mine ? state.error : null, at: mine ? state.at : 0, reload };
}

/** Whether another try can't mend it. @param {import("./api.js").ApiError} error */
const hopeless = (error) => error.missing || [400, 401, 403].includes(error.status);

const FIRST_MS = 500;
const LONGEST_MS = 5000;

/**
 * Follows a stream while the tab is shown, and takes it up again when it breaks off.
 * @param {string | null} path Null: none.
 * @param {Record<string, unknown>} query
 * @param {(message: any, line: string) => void} each
 * @returns {import("./api.js").ApiError | null} Why there is none.
 */
export function useStream(path, query, each) {
  const [error, set] = useState(/** @type {any} */ (null));
  const visible = useVisible();
  const { returns } = useConnection();
  const { turn } = useAuth();
  const newest = useRef(each);
  newest.current = each;
  const what = JSON.stringify([path, query, turn]);
  useEffect(() => {
    if (path === null || !visible) return;
    const stop = new AbortController();
    let timer = 0;
    let wait = FIRST_MS;
    const follow = async () => {
      try {
        await stream(path, { query, signal: stop.signal }, (message, line) => {
          wait = FIRST_MS;
          set(null);
          if (!stop.signal.aborted) newest.current(message, line);
        });
      } catch (error) {
        if (wasAborted(error) || stop.signal.aborted) return;
        const failed = /** @type {import("./api.js").ApiError} */ (error);
        set(failed);
        if (hopeless(failed)) return;
      }
      if (stop.signal.aborted) return;
      timer = window.setTimeout(follow, wait);
      wait = Math.min(wait * 2, LONGEST_MS);
    };
    follow();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [what, visible, returns]);
  return error;
}
