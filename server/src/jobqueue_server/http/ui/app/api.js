// Calls of the server's REST interface: the key, errors with their reason, streams, and whether the server is there.
import { getKey, keyRefused } from "./auth.js";
import { connection } from "./connection.js";

const ROOT = new URL("../", document.baseURI);

/** What a call failed by. */
export class ApiError extends Error {
  /**
   * @param {number} status Of HTTP; 0: the server was not reached.
   * @param {string} reason Such as `NOT_ALLOWED`; "" where the answer has none.
   * @param {string} message For people.
   * @param {any} [body] The whole answer.
   */
  constructor(status, reason, message, body) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.body = body;
  }

  /** Whether this server does not have the method: an older one, or a part that is turned off. */
  get missing() {
    return this.status === 501 || this.reason === "NOT_IMPLEMENTED" || (this.status === 404 && !this.reason);
  }
}

/** @param {unknown} error */
export const wasAborted = (error) => error instanceof DOMException && error.name === "AbortError";

/**
 * @typedef {object} Options
 * @property {string} [method]
 * @property {Record<string, unknown>} [query] What is null, undefined, "" or [] is left out; a list becomes several.
 * @property {unknown} [body] Becomes JSON. A string is sent as it is.
 * @property {AbortSignal} [signal]
 * @property {string} [accept]
 */

/** The address of a method, such as `v1/queues`.
 * @param {string} path @param {Record<string, unknown>} [query] */
export function address(path, query = {}) {
  const target = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== null && each !== undefined && each !== "") target.searchParams.append(name, String(each));
    }
  }
  return target.href;
}

/** @param {string} path @param {Options} options */
async function ask(path, options) {
  /** @type {Record<string, string>} */
  const headers = { Accept: options.accept ?? "application/json" };
  const key = getKey();
  if (key) headers["Authorization"] = `Bearer ${key}`;
  /** @type {RequestInit} */
  const request = { method: options.method ?? "GET", headers, cache: "no-store", credentials: "same-origin" };
  if (options.signal) request.signal = options.signal;
  if (options.body !== undefined) {
    headers["Content-Type"] = "application/json";
    request.body = typeof options.body === "string" ? options.body : JSON.stringify(options.body);
  }
  /** @type {Response} */
  let answer;
  try {
    answer = await fetch(address(path, options.query), request);
  } catch (error) {
    if (!wasAborted(error)) connection.lost();
    throw wasAborted(error) ? error : new ApiError(0, "", "the server was not reached");
  }
  connection.reached();
  if (!answer.ok) throw await failure(answer, key);
  return answer;
}

/** @param {Response} answer @param {string} key */
async function failure(answer, key) {
  const text = await answer.text();
  const error = errorOf(answer.status, text);
  if (answer.status === 401) keyRefused(key, error.message);
  return error;
}

/** @param {number} status @param {string} text */
function errorOf(status, text) {
  try {
    const body = JSON.parse(text);
    const told = body.error ?? body;
    const info = (told.details ?? []).find((/** @type {any} */ each) => each.reason) ?? {};
    return new ApiError(status, info.reason ?? "", told.message ?? `HTTP ${status}`, told);
  } catch {
    return new ApiError(status, "", `HTTP ${status}`);
  }
}

/** Calls a method; its answer, read as JSON.
 * @param {string} path @param {Options} [options] @returns {Promise<any>} */
export async function call(path, options = {}) {
  const text = await callText(path, options);
  return text ? JSON.parse(text) : {};
}

/** The same, as text: numbers of any length are what was sent.
 * @param {string} path @param {Options} [options] */
export async function callText(path, options = {}) {
  return (await ask(path, options)).text();
}

/**
 * Reads a stream, line by line, until it ends.
 * @param {string} path
 * @param {Options} options
 * @param {(message: any, line: string) => void} each Gets each message, and its text.
 */
export async function stream(path, options, each) {
  const answer = await ask(path, { ...options, accept: "application/x-ndjson" });
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      connection.reached();
      const lines = (rest + value).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (!line.trim()) continue;
        const message = JSON.parse(line);
        // Of WatchJobs and its like no message has this field at its top.
        if (message.error?.code && message.error?.message) throw errorOf(503, line);
        each(message, line);
      }
    }
  } catch (error) {
    if (wasAborted(error) || error instanceof ApiError) throw error;
    connection.lost();
    throw new ApiError(0, "", "the connection to the server was lost");
  }
}
