// Who reads the page: the key, in this tab's sessionStorage alone, and what it permits, so that no button promises what
// the server would refuse. The server decides; this only hides.
import { watched } from "./watched.js";

const STORED = "jobqueue.key";
const { tell, use } = watched();
const readOnlyPage = document.documentElement.dataset["mode"] === "read-only";

/**
 * @typedef {{permissions: string[], queues?: string[], kinds?: string[], payloads?: boolean}} Grant
 * @typedef {{principal: string, credential?: string, namespace: string, grants: Grant[], expires_at?: string}} Access
 * @typedef {"ENQUEUE" | "READ" | "WORK" | "OPERATE" | "ADMIN"} Permission
 */

/** `wanted`: whether the page asks for a key, and why the last one was refused. */
const state = {
  wanted: false,
  why: "",
  /** @type {Access | null} */
  access: null,
  /** Raised with each new key: then everything is read anew. */
  turn: 0,
};

/** @returns {string} "": none was given. */
export function getKey() {
  try {
    return sessionStorage.getItem(STORED) ?? "";
  } catch {
    return kept;
  }
}
/** Where storage is turned off, the key lasts until a reload. */
let kept = "";

/** Takes a key, and tries it. "" forgets the one that is there.
 * @param {string} key */
export function setKey(key) {
  kept = key;
  try {
    if (key) sessionStorage.setItem(STORED, key);
    else sessionStorage.removeItem(STORED);
  } catch {
    // It is in `kept`.
  }
  Object.assign(state, { wanted: false, why: "", access: null, turn: state.turn + 1 });
  tell();
}

/** The server refused a call for its key: another one is asked for.
 * @param {string} key What the call had. @param {string} why */
export function keyRefused(key, why) {
  // An answer to a call with an older key says nothing of the new one.
  if (key !== getKey() || state.wanted) return;
  Object.assign(state, { wanted: true, why: key ? why : "" });
  tell();
}

/** @param {Access | null} access */
export function setAccess(access) {
  state.access = access;
  tell();
}

/** The same, drawn again whenever it changes. */
export function useAuth() {
  use();
  return { ...state, readOnly: readOnly() };
}

/** Whether the page shows no button at all: by its setting, or because nothing may be done. */
export function readOnly() {
  if (readOnlyPage) return true;
  return state.access !== null && !state.access.grants.some((each) => acts(each.permissions));
}

/** @param {string[]} permissions */
const acts = (permissions) => permissions.some((each) => each === "OPERATE" || each === "ENQUEUE" || each === "ADMIN");

/** @param {string[] | undefined} patterns @param {string} name "*": every name. */
function covers(patterns, name) {
  if (!patterns?.length) return true;
  return patterns.some((each) => each === name || (each.endsWith("*") && name.startsWith(each.slice(0, -1))));
}

/**
 * Whether one grant permits this.
 * @param {Permission} permission
 * @param {string} [queue] Default: every queue.
 * @param {string} [kind] Default: every kind.
 */
export function can(permission, queue = "*", kind = "*") {
  if (readOnlyPage && permission !== "READ") return false;
  return (state.access?.grants ?? []).some(
    (each) => each.permissions.includes(permission) && covers(each.queues, queue) && covers(each.kinds, kind),
  );
}

/** Whether it is permitted on any queue and kind: whether a page is worth a link. @param {Permission} permission */
export function canAnywhere(permission) {
  if (readOnlyPage && permission !== "READ") return false;
  return (state.access?.grants ?? []).some((each) => each.permissions.includes(permission));
}
