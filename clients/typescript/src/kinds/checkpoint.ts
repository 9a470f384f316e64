/** Checkpoints that are values: JSON text while they are stored. */

import { shown } from "../encoded.js";
import { textOf } from "../payload.js";
import { CheckpointUnreadable } from "./errors.js";
import { violationOf } from "./issues.js";
import { isPromise } from "./maybe.js";
import { isStandardSchema } from "./standardSchema.js";
import type { OutputOf, StandardSchema } from "./standardSchema.js";

/**
 * The value that a checkpoint stands for.
 *
 * @param opened Whether encodings have decoded it.
 * @throws CheckpointUnreadable It is not what the schema takes.
 * @throws Encoded It is encoded and was not decoded.
 * @throws TypeError This is no schema, or one that checks asynchronously.
 */
export function readCheckpoint<S extends StandardSchema>(
  data: Uint8Array,
  schema: S,
  opened: boolean,
): OutputOf<S> {
  if (!isStandardSchema(schema)) {
    throw new TypeError(
      "checkpointAs takes a Standard Schema: give a schema of zod, valibot or arktype, for example",
    );
  }
  const stored = parsed(data);
  const value = opened ? stored : shown(stored);
  const result = schema["~standard"].validate(value);
  if (isPromise(result)) {
    result.catch(() => undefined);
    throw new TypeError("checkpointAs takes a schema that does not check asynchronously");
  }
  if (result.issues === undefined) return result.value as OutputOf<S>;
  const { field, description } = violationOf(result.issues, "checkpoint", value);
  throw new CheckpointUnreadable(`${field}: ${description}`);
}

function parsed(data: Uint8Array): unknown {
  try {
    return JSON.parse(textOf(data));
  } catch {
    // Without the cause: its words may quote the checkpoint, which may have been encrypted.
    throw new CheckpointUnreadable("checkpoint: must be JSON, as saveCheckpoint makes it of a value");
  }
}
