import assert from "node:assert/strict";
import { test } from "node:test";
import { filterOf, groupsOf, wordsOf } from "../app/dead.js";
import { headOf } from "../app/error_text.js";
import { asCommand, asCurl, bodyOf } from "../app/job_copy.js";
import { member, pretty, read } from "../app/json.js";
import { bars, spans } from "../app/timeline.js";

const at = (seconds) => new Date(Date.parse("2026-11-28T12:00:00Z") + seconds * 1000).toISOString();
const NOW = Date.parse(at(100));
const JOB = { kind: "k", queue: "q", attempts: 0, created_at: at(0), run_at: at(0), failed_attempts: [] };
const failed = (attempt, from, to, reason = "HANDLER_FAILED") => ({
  attempt, reason, error_type: "ValueError", error: "no", worker: "w", started_at: at(from), ended_at: at(to),
});

test("JSON is read by its text, and its numbers keep their digits", () => {
  const text = '{"n": 12345678901234567890, "r": 1.50, "s": "<script>\\u0041", "l": [true, {}]}';
  const members = read(text).members;
  assert.deepEqual(members.map(({ value }) => text.slice(value.start, value.end)), [
    "12345678901234567890", "1.50", '"<script>\\u0041"', "[true, {}]",
  ]);
  assert.equal(pretty('{"n":12345678901234567890}'), '{\n  "n": 12345678901234567890\n}');
});

test("what is not JSON is told with the place", () => {
  assert.throws(() => read('{"a": 01}'), /not JSON at character 8/);
  assert.throws(() => read('{"a": [1,]}'), /not JSON at character 10/);
  assert.throws(() => read('{"a": "b'), /not JSON/);
  assert.throws(() => read(""), /ends too early/);
  assert.throws(() => read("[".repeat(5000)), /not JSON/);
});

test("a text of a megabyte is read", () => {
  const long = JSON.stringify({ a: "x\n".repeat(500_000), b: [...Array(50_000).keys()] });
  assert.equal(read(long).members.length, 2);
  assert.equal(member(`{"id":"1","payload":${long},"status":"QUEUED"}`, "payload"), long);
});

test("waits and attempts follow each other without a gap, and waits are labelled by what they were", () => {
  const all = spans({ ...JOB, status: "RETRYING", attempts: 2, run_at: at(130), failed_attempts: [failed(1, 10, 20), failed(2, 60, 90)] }, NOW);
  assert.deepEqual(all.map(({ type, label, attempt }) => [type, label, attempt]), [
    ["wait", "waited for a worker", undefined],
    ["run", "HANDLER_FAILED", 1],
    ["wait", "backoff", undefined],
    ["run", "HANDLER_FAILED", 2],
    ["wait", "backoff", undefined],
  ]);
  for (let index = 1; index < all.length; index += 1) assert.equal(all[index].from, all[index - 1].to);
  assert.equal(all.at(-1).open, true);
  assert.equal(all.at(-1).to, Date.parse(at(130)));
});

test("bars are in proportion", () => {
  const all = spans({ ...JOB, status: "RETRYING", run_at: at(100), failed_attempts: [failed(1, 25, 50)] }, NOW - 1);
  assert.deepEqual(bars(all), [
    { left: 0, width: 25 },
    { left: 25, width: 25 },
    { left: 50, width: 50 },
  ]);
});

test("an attempt whose start is not kept is not drawn as a wait or a run", () => {
  const all = spans({ ...JOB, status: "SUCCEEDED", attempts: 1, finished_at: at(9) }, NOW);
  assert.deepEqual(all.map(({ type, label, look }) => [type, label, look]), [["unknown", "SUCCEEDED", "good"]]);
});

test("a running attempt goes on until now", () => {
  const all = spans({ ...JOB, status: "RUNNING", attempts: 1, locked_at: at(40), locked_by: "w1" }, NOW);
  assert.deepEqual(all.map(({ type, from, to }) => [type, from, to]), [
    ["wait", Date.parse(at(0)), Date.parse(at(40))],
    ["run", Date.parse(at(40)), NOW],
  ]);
});

test("a job that is held back says by what", () => {
  assert.equal(spans({ ...JOB, status: "QUEUED", hold: "HAND" }, NOW)[0].label, "held back by hand");
  assert.equal(spans({ ...JOB, status: "QUEUED", run_at: at(500) }, NOW)[0].label, "starts later");
});

test("a lost worker is told apart from a failure", () => {
  const all = spans({ ...JOB, status: "QUEUED", failed_attempts: [failed(1, 1, 2, "SESSION_LOST")] }, NOW);
  assert.deepEqual(all.map(({ look }) => look), ["plain", "lost", "plain"]);
});

test("a copy has the payload byte for byte, and not what belongs to that one job", () => {
  const job = {
    ...JOB, priority: -3, max_attempts: 5, labels: { team: "it's" }, headers: { "x-request-id": "1", tone: "low" },
    idempotency_key: "once", unique_key: "u", key: "customer 7",
  };
  const payload = '{"n": 12345678901234567890, "t": "it\'s"}';
  assert.equal(
    bodyOf(job, payload),
    `{"kind": "k", "payload": ${payload}, "queue": "q", "priority": -3, "max_attempts": 5, "labels": {"team":"it's"}, "headers": {"tone":"low"}, "key": "customer 7"}`,
  );
  assert.match(asCurl(job, payload, "http://127.0.0.1:8080/", true), /^curl http:\/\/127.0.0.1:8080\/v1\/jobs -H "Authorization: Bearer \$JOBQUEUE_KEY" --json '/);
  assert.equal(
    asCommand(job, "{}"),
    "jobqueue enqueue k '{}' --queue q --priority=-3 --max-attempts 5 --job-key 'customer 7' --label 'team=it'\\''s' --header tone=low",
  );
});

test("failed jobs are grouped by queue, kind, reason and type of error, the largest group first", () => {
  const job = (kind, type, seconds) => ({
    id: `${kind}${seconds}`, kind, queue: "q", status: "FAILED_PERMANENT", reason: "ATTEMPTS_EXHAUSTED", created_at: at(seconds),
    last_error: "no\nmore", failed_attempts: [{ ...failed(1, 0, 1), error_type: "Other" }, { ...failed(2, 0, 1), error_type: type }],
  });
  const groups = groupsOf([job("a", "T", 9), job("b", "T", 8), job("b", "T", 7), job("b", "", 6)]);
  assert.deepEqual(groups.map(({ kind, errorType, jobs, newest, oldest, error }) => [kind, errorType, jobs, newest, oldest, error]), [
    ["b", "T", 2, at(8), at(7), "no"],
    ["a", "T", 1, at(9), at(9), "no"],
    ["b", "", 1, at(6), at(6), "no"],
  ]);
  assert.deepEqual(filterOf(groups[0]), {
    status: ["FAILED_PERMANENT"], queue: "q", kind: "b", reason: ["ATTEMPTS_EXHAUSTED"], error_type: "T",
  });
  // Without a type the filter takes all types: the words say so.
  assert.equal("error_type" in filterOf(groups[2]), false);
  assert.match(wordsOf(groups[2]), /of any type of error$/);
});

test("of a traceback the last line is its head, of another error the first", () => {
  assert.equal(headOf("Traceback (most recent call last):\n  File x\nValueError: no")[0], "ValueError: no");
  assert.equal(headOf("refused\nby the peer")[0], "refused");
  assert.deepEqual(headOf("one line"), ["one line", ""]);
});
