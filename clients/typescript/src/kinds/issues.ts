/** What is wrong with a value, in words that name the place and what would be right, and never the value. */

import type { FieldViolation } from "../errors.js";
import type { StandardIssue } from "./standardSchema.js";

// From there on libraries say what they were given.
const GIVEN = /[\s,;]*\(?\b(but )?(received|was|got|actual)\b.*$/is;
const EXPECTED = /^invalid (?:input|type|option)\s*:\s*expected (.*)$/is;

/**
 * The first issue as a violation.
 *
 * @param what How the whole is called: `payload` or `output`.
 * @param value What was checked.
 */
export function violationOf(issues: readonly StandardIssue[], what: string, value: unknown): FieldViolation {
  const [issue] = issues;
  let field = what;
  let at = value;
  for (const step of issue?.path ?? []) {
    const key = typeof step === "object" ? step.key : step;
    field += typeof key === "number" ? `[${key}]` : `.${String(key)}`;
    at = typeof at === "object" && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined;
  }
  return { field, description: wordsOf(issue?.message ?? "", at) };
}

function wordsOf(message: string, value: unknown): string {
  const kept = message.replace(GIVEN, "").trim();
  if (kept === "" || holds(kept, value)) return "does not fit its schema";
  const expected = EXPECTED.exec(kept)?.[1];
  return expected === undefined ? kept : `must be ${expected}`;
}

/** Whether words have a part of the value in them. */
function holds(words: string, value: unknown): boolean {
  if (typeof value === "object" && value !== null) {
    return Object.values(value).some((each) => holds(words, each));
  }
  const text = typeof value === "string" ? value.trim() : String(value);
  if (text === "" || text.length > words.length || value === undefined || value === null) return false;
  const escaped = text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`(^|[^\\p{L}\\p{N}])${escaped}($|[^\\p{L}\\p{N}])`, "u").test(words);
}
