import assert from "node:assert/strict";
import { test } from "node:test";
import { FIELDS, first, requestOf, words } from "../app/bulk_fields.js";
import { errorsOf } from "../app/dead.js";
import { member } from "../app/json.js";
import { line, nearest, ticks, timeTicks } from "../app/plot.js";

test("the values of an axis are round, and as many as there is room for", () => {
  assert.deepEqual(ticks(11, 4), [0, 5, 10]);
  assert.deepEqual(ticks(880, 4), [0, 500]);
  assert.deepEqual(ticks(0.0011, 4).length, 3);
  for (const highest of [0.0011, 0.3, 1, 7, 64, 999, 12345, 2e6]) {
    const all = ticks(highest, 4);
    assert.ok(all.length >= 2 && all.length <= 5, `${highest}: ${all}`);
    assert.ok((all.at(-1) ?? 0) <= highest);
  }
});

test("the times of an axis are round ones of the clock that people read", () => {
  const noon = Date.parse("2026-11-28T12:00:00Z") / 1000;
  const of = (from, until, count, offset) => {
    const { step, times } = timeTicks(from, until, count, offset);
    return [step, ...times.map((time) => new Date((time + offset) * 1000).toISOString().slice(11, 16))];
  };
  assert.deepEqual(of(noon + 61, noon + 3661, 6, 0), [600, "12:10", "12:20", "12:30", "12:40", "12:50", "13:00"]);
  // India's clock is five and a half hours ahead.
  assert.deepEqual(of(noon, noon + 86_400, 5, 19_800), [21_600, "18:00", "00:00", "06:00", "12:00"]);
});

/** How a line at these times goes: a dash between two that it joins. @param {number[]} times */
function joins(times) {
  const { line: path, dots } = line(times, (index) => times[index] ?? 0, () => 0);
  return [path.replaceAll("M", " ").replaceAll(".0 0.0", "").replaceAll("L", "-").trim(), dots.replaceAll("M", " ").replaceAll(".0 0.0h0", "").trim()];
}

test("a line goes on over values that are missing, and breaks where a gap is much wider than those beside it", () => {
  assert.deepEqual(line([1, 2, null, 3, null], (index) => index, (value) => value), { line: "M0.0 1.0L1.0 2.0L3.0 3.0", dots: "" });
  assert.deepEqual(line([], Number, Number), { line: "", dots: "" });
  // An hour without any.
  assert.deepEqual(joins([0, 10, 20, 3620, 3630, 3640]), ["0-10-20 3620-3630-3640", ""]);
  // One each five minutes after one each ten seconds.
  assert.deepEqual(joins([0, 10, 20, 320, 620]), ["0-10-20-320-620", ""]);
  assert.deepEqual(joins([0, 300]), ["0-300", ""]);
});

test("a value that stands alone is a dot", () => {
  assert.deepEqual(joins([0, 10, 20, 620]), ["0-10-20", "620"]);
  assert.deepEqual(joins([0, 600, 610, 620]), ["600-610-620", "0"]);
  assert.deepEqual(joins([7]), ["", "7"]);
});

test("the pointer finds the nearest time", () => {
  assert.equal(nearest([10, 20, 30], 24), 1);
  assert.equal(nearest([10, 20, 30], 99), 2);
  assert.equal(nearest([], 5), -1);
});

test("what is typed into a bulk action becomes what the API takes", () => {
  const { before, then } = FIELDS.update;
  assert.deepEqual(requestOf(before, { priority: "-3", start: "10m", spread: "1h", to_queue: "mail", max_attempts: "5" }), {
    body: { priority: -3, delay: "600s", spread: "3600s", to_queue: "mail", max_attempts: 5 }, wrong: {},
  });
  assert.deepEqual(requestOf(before, { start: "now" }).body, { delay: "0s" });
  assert.deepEqual(requestOf(before, { start: "2026-12-01T10:00Z" }).body, { run_at: "2026-12-01T10:00:00.000Z" });
  // A spread is of a new start.
  assert.deepEqual(requestOf(before, { spread: "90s" }).body, { delay: "0s", spread: "90s" });
  assert.deepEqual(requestOf(FIELDS.retry.then, { ...first(FIELDS.retry.then), spread: "90s" }).body, { per_second: 200, spread: "90s" });
  assert.deepEqual(requestOf(then, first(then)).body, {});
  assert.equal(words(before, { priority: "5", start: " now ", spread: "" }), "priority 5, start now");
});

test("what is wrong in a bulk action is said by its field, and is not sent", () => {
  const { before } = FIELDS.update;
  const { body, wrong } = requestOf(before, { priority: "11", start: "soon", spread: "8d", to_queue: "Mail", max_attempts: "0" });
  assert.deepEqual(body, {});
  assert.deepEqual(Object.keys(wrong), ["priority", "start", "spread", "to_queue", "max_attempts"]);
  assert.deepEqual(Object.keys(requestOf(FIELDS.retry.then, { per_second: "1.5" }).wrong), ["per_second"]);
});

test("attempts are counted by the type of their error, and by their reason where they have none", () => {
  const failed = (error_type, reason = "HANDLER_FAILED", error = "") => ({ error_type, reason, error });
  const found = errorsOf([
    { id: "2", failed_attempts: [failed("ValueError", undefined, "no customer"), failed("ValueError"), failed("", "SESSION_LOST")] },
    { id: "1", failed_attempts: [failed("ValueError"), failed("KeyError")] },
    { id: "0" },
  ]);
  assert.deepEqual(found.map(({ type, attempts, jobs, example }) => [type, attempts, jobs, example]), [
    ["ValueError", 3, 2, "2"], ["SESSION_LOST", 1, 1, "2"], ["KeyError", 1, 1, "1"],
  ]);
});

test("a member is found by its whole path, however its name is written", () => {
  assert.equal(member('{"a": {"b": 1}, "\\u0062": {"c": 2.50}}', "b", "c"), "2.50");
  assert.equal(member('{"a": [1]}', "a", "b"), null);
  assert.equal(member('{"a": 1}', "c"), null);
});
