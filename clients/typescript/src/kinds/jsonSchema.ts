/** JSON Schemas of kinds: what a library says of its schema, made fit for a server. */

import { isStandardSchema } from "./standardSchema.js";
import type { JsonSchema, StandardSchema } from "./standardSchema.js";

// Their values are no schemas.
const VALUES = new Set(["default", "const", "enum", "examples"]);
// Their values are objects whose names are the user's, and whose values are schemas.
const NAMED = new Set(["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"]);
const CLOSING = new Set(["additionalProperties", "unevaluatedProperties"]);

/**
 * The JSON Schema of the texts that a schema takes. Undefined: its library can't say it.
 *
 * @param strict Whether it may refuse fields that it does not know. Else they are let in, whatever the library says.
 * @throws TypeError The schema has a part that JSON Schema has no words for.
 */
export function described(
  of: StandardSchema | JsonSchema,
  kind: string,
  strict: boolean,
): JsonSchema | undefined {
  const said = isStandardSchema(of) ? inputOf(of, kind) : of;
  if (said === undefined) return undefined;
  return strict ? said : (walk(said, open) as JsonSchema);
}

function inputOf(schema: StandardSchema, kind: string): JsonSchema | undefined {
  try {
    return schema["~standard"].jsonSchema?.input({ target: "draft-2020-12" });
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new TypeError(`kind ${kind} has no JSON Schema: ${words}; give it as jsonSchema`, { cause: error });
  }
}

/** The schema of one that fits any of these, each of its version. The first is the newest one. */
export function anyVersion(
  branches: readonly (readonly [version: number, schema: JsonSchema])[],
): JsonSchema {
  const said = branches.map(([version, schema]) => ({ ...schema, "x-payload-version": version }));
  const [only] = said;
  if (said.length === 1 && only !== undefined) return only;
  return {
    anyOf: said.map((each, number) => {
      const { $schema: _, ...branch } = each as JsonSchema;
      return walk(branch, moved(`#/anyOf/${number}`));
    }),
  };
}

/** Without the rule that refuses fields which are not known. */
function open(name: string, value: unknown): [string, unknown] | undefined {
  return CLOSING.has(name) && value === false ? undefined : [name, value];
}

/** With references that still lead to the same place where the schema stands there. */
function moved(to: string): (name: string, value: unknown) => [string, unknown] {
  return (name, value) => {
    const inside = name === "$ref" && typeof value === "string" && /^#(\/|$)/.test(value);
    return [name, inside ? to + value.slice(1) : value];
  };
}

type Change = (name: string, value: unknown) => [string, unknown] | undefined;

/** A copy of a schema, with each keyword as `change` has it. */
function walk(schema: unknown, change: Change): unknown {
  if (Array.isArray(schema)) return schema.map((each) => walk(each, change));
  if (typeof schema !== "object" || schema === null) return schema;
  const found: Record<string, unknown> = {};
  for (const entry of Object.entries(schema)) {
    const kept = change(...entry);
    if (kept === undefined) continue;
    const [name, value] = kept;
    if (VALUES.has(name)) found[name] = value;
    else if (NAMED.has(name) && typeof value === "object" && value !== null) {
      const schemas = Object.entries(value).map(([each, inner]) => [each, walk(inner, change)]);
      found[name] = Object.fromEntries(schemas);
    } else found[name] = walk(value, change);
  }
  return found;
}
