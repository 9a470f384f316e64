// What this browser remembers of how the page looks. Nothing secret: that is in `auth.js`.
import { watched } from "./watched.js";

const PREFIX = "jobqueue.";
const { tell, use } = watched();

/** @param {string} name */
export function read(name) {
  try {
    return localStorage.getItem(PREFIX + name) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} name @param {string} value "" forgets it. */
export function setting(name, value) {
  try {
    if (value) localStorage.setItem(PREFIX + name, value);
    else localStorage.removeItem(PREFIX + name);
  } catch {
    // It lasts until a reload.
  }
  apply();
  tell();
}

/** @param {string} name */
export function useSetting(name) {
  use();
  return read(name);
}

/** Puts what changes the whole page on its root. */
export function apply() {
  const root = document.documentElement;
  for (const name of ["scheme", "density"]) {
    const value = read(name);
    if (value) root.dataset[name] = value;
    else delete root.dataset[name];
  }
}
