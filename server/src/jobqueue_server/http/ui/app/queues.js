// What operators do to a queue.
import { call } from "./api.js";
import { confirm, say } from "./dialog.js";
import { path } from "./router.js";

/** Asks why, and pauses it. @param {string} name */
export async function pause(name) {
  const done = await confirm({
    title: `Pause ${name}?`,
    text: "No job of it starts until it is resumed. Jobs are still taken, and those that run go on.",
    ask: "Why, for those who find it paused",
    action: "Pause",
    run: (reason) => call(`v1/${path("queues", name)}:pause`, { method: "POST", body: { reason } }),
  });
  if (done) say(`${name} is paused.`);
}

/** @param {string} name */
export async function resume(name) {
  try {
    await call(`v1/${path("queues", name)}:resume`, { method: "POST", body: {} });
    say(`${name} goes on.`);
  } catch (error) {
    say(`${name} was not resumed: ${/** @type {Error} */ (error).message}`);
  }
}
