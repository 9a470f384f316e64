// A state that is no part's own: each part that shows it is drawn again when it changes.
import { useEffect, useState } from "./lib.js";

/** @returns {{tell: () => void, use: () => void}} `tell`: it has changed. `use`, while a part is drawn: the part shows it. */
export function watched() {
  /** @type {Set<() => void>} */
  const watchers = new Set();
  return {
    tell() {
      for (const each of watchers) each();
    },
    use() {
      const [, set] = useState(0);
      useEffect(() => {
        const again = () => set((count) => count + 1);
        watchers.add(again);
        return () => void watchers.delete(again);
      }, []);
    },
  };
}
