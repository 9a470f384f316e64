import assert from "node:assert/strict";
import { test } from "node:test";
import { accept, complete } from "../app/complete.js";
import { parse, token, tokens } from "../app/filter.js";
import { bounds, jobFilter, lineOf, listQuery, sentence, toggled } from "../app/filter_api.js";

const NOW = Date.parse("2026-11-28T12:00:00Z");
const KNOWN = { queues: ["mail", "mail-bulk"], kinds: ["send_email", "webhook_deliver"], labels: ["tenant=7", "team=a b"] };

/** What ListJobs is asked for. @param {string} line */
function asked(line) {
  const filter = parse(line);
  assert.deepEqual(filter.problems, [], line);
  return listQuery(filter, NOW);
}

/** The one sentence by which a line is refused. @param {string} line */
function refused(line) {
  const { problems } = parse(line);
  assert.equal(problems.length, 1, line);
  return problems[0].message;
}

test("a filter becomes the parameters of ListJobs", () => {
  assert.deepEqual(asked("status:failed queue:mail kind:send_email label:tenant=7"), [
    ["queue", "mail"],
    ["kind", "send_email"],
    ["status", "FAILED_PERMANENT"],
    ["labels", "tenant=7"],
  ]);
});

test("several statuses and labels are all asked for, each once", () => {
  assert.deepEqual(asked("status:waiting,failed status:queued label:a=1 label:b=2 label:a=1"), [
    ["status", "QUEUED"],
    ["status", "RETRYING"],
    ["status", "FAILED_PERMANENT"],
    ["labels", "a=1"],
    ["labels", "b=2"],
  ]);
});

test("names of the API are words of the filter too", () => {
  assert.deepEqual(asked("status:FAILED_PERMANENT"), [["status", "FAILED_PERMANENT"]]);
});

test("an age below two hours is a time after two hours ago, and one above is a time before", () => {
  assert.deepEqual(asked("created:<2h"), [["created_after", "2026-11-28T10:00:00.000Z"]]);
  assert.deepEqual(asked("created:>1h30m"), [["created_before", "2026-11-28T10:30:00.000Z"]]);
});

test("a day is all of the day, and a time without a zone is UTC", () => {
  assert.deepEqual(bounds(parse("created:2026-11-27"), NOW), {
    created_after: "2026-11-27T00:00:00.000Z",
    created_before: "2026-11-28T00:00:00.000Z",
  });
  assert.deepEqual(bounds(parse("created:>2026-11-27T10:30"), NOW), { created_after: "2026-11-27T10:30:00.000Z" });
  assert.deepEqual(bounds(parse("created:<2026-11-27"), NOW), { created_before: "2026-11-27T00:00:00.000Z" });
});

test("of several bounds the narrowest counts", () => {
  assert.deepEqual(bounds(parse("created:<2h created:<1h created:>10m"), NOW), {
    created_after: "2026-11-28T11:00:00.000Z",
    created_before: "2026-11-28T11:50:00.000Z",
  });
});

test("a value with blanks and quotes goes through quotes and back", () => {
  const typed = token("label", 'name=a "b" \\c');
  assert.deepEqual(parse(typed).labels, ['name=a "b" \\c']);
  assert.equal(tokens(`${typed} queue:mail`).length, 2);
});

test("what the API can't do is refused with a sentence that says what can be done", () => {
  assert.match(refused("kind:send*"), /by a whole kind, not by its beginning/);
  assert.match(refused("queue:mail queue:sms"), /one queue at a time/);
  assert.match(refused("-status:failed"), /by what they are not/);
  assert.match(refused("payload:x"), /give the job a label/);
  assert.match(refused("reason:TIMED_OUT"), /page Dead/);
  assert.match(refused("colour:red"), /is not a field; there are status, queue/);
  assert.match(refused("mail"), /queue:mail, kind:mail/);
  assert.match(refused("status:fail"), /is not a status; there are queued/);
  assert.match(refused("created:2h"), /created:<2h for the last 2h/);
  assert.match(refused("created:soon"), /an age such as <2h/);
  assert.match(refused("label:tenant"), /name=value/);
  assert.match(refused("id:01a2"), /an id is whole/);
  assert.match(refused("queue:Mail"), /small letters/);
  assert.match(refused("queue:"), /no value yet/);
});

test("an id is an id with its field or without", () => {
  const id = "01a20e73-0f01-7256-8792-b71999e1b2bb";
  assert.equal(parse(id).id, id);
  assert.equal(parse(`id:${id.toUpperCase()}`).id, id);
});

test("no filter is no filter for a bulk action", () => {
  assert.equal(jobFilter(parse(""), NOW), null);
  assert.deepEqual(jobFilter(parse("status:failed created:<1h"), NOW), {
    status: ["FAILED_PERMANENT"],
    created_after: "2026-11-28T11:00:00.000Z",
  });
});

test("an address with parameters of ListJobs is the same filter", () => {
  const search = new URLSearchParams("status=FAILED_PERMANENT&queue=mail&labels=team%3Da+b");
  assert.equal(lineOf(search), 'status:failed queue:mail label:"team=a b"');
  assert.equal(lineOf(new URLSearchParams("q=queue:mail&queue=other")), "queue:mail");
});

test("the filter is told as a sentence", () => {
  assert.equal(sentence(parse(""), NOW), "All jobs, newest first");
  assert.equal(
    sentence(parse("status:failed,cancelled queue:mail created:<2h"), NOW),
    "Failed or cancelled jobs of the queue mail enqueued at 2026-11-28 10:00:00 UTC or later, newest first",
  );
});

test("a token is put in and taken off, and of one queue there is one", () => {
  assert.equal(toggled("queue:mail status:failed", "queue", "sms"), "status:failed queue:sms");
  assert.equal(toggled('label:"team=a b" queue:mail', "label", "team=a b"), "queue:mail");
});

test("fields are completed, then their values, those that begin so first", () => {
  assert.deepEqual(complete("st", 2, KNOWN).options.map(({ insert }) => insert), ["status:"]);
  assert.deepEqual(complete("status:ca", 9, KNOWN).options.map(({ insert }) => insert), ["status:cancelled "]);
  assert.deepEqual(complete("kind:e", 6, KNOWN).options.map(({ text }) => text), ["send_email", "webhook_deliver"]);
  assert.deepEqual(complete("kind:webh*", 10, KNOWN).options.map(({ text }) => text), ["webhook_deliver"]);
  assert.deepEqual(complete("status:queued,ru", 16, KNOWN).options.map(({ insert }) => insert), ["status:queued,running "]);
  assert.deepEqual(complete("label:team", 10, KNOWN).options.map(({ insert }) => insert), ['label:"team=a b" ']);
});

test("a suggestion takes the place of the token under the cursor alone", () => {
  const line = "status:failed kind:webh queue:mail";
  const completion = complete(line, 23, KNOWN);
  assert.deepEqual(accept(line, completion, completion.options[0]), {
    line: "status:failed kind:webhook_deliver queue:mail",
    cursor: 35,
  });
});
