/** How a kind is declared, and what its types say to producers and handlers. */

import type { EncodingRule, JobOptions } from "../job.js";
import type { RetryPolicy } from "../jobs.js";
import type { Unique } from "../unique.js";
import type { JobContext } from "../worker/context.js";
import { JobKind } from "./kind.js";
import type { Maybe } from "./maybe.js";
import type { InputOf, JsonSchema, OutputOf, StandardSchema } from "./standardSchema.js";
import type { VERSION_HEADER, Upcast, Upcaster } from "./versions.js";

/** What can be said of one job of a typed kind. Its payload is not among it. */
export type TypedJobOptions = Omit<JobOptions, "payloadJson">;

/** What a kind says for all its jobs. What one job says wins over it. */
export interface KindDefaults {
  /** The queue in which its jobs wait. Default: `default`. */
  readonly queue?: string | undefined;
  /** -10..10, higher first. Default 0. */
  readonly priority?: number | undefined;
  /** After how many failures a job ends as FAILED_PERMANENT, 1..1000. Default: what the server has of the kind, else 3. */
  readonly maxAttempts?: number | undefined;
  /** How long one attempt may run, 1 s to 7 days. Default: what the server has of the kind, else no limit. */
  readonly timeoutMs?: number | undefined;
  /** The wait between attempts. Default: what the server has of the kind, else the default one. */
  readonly retryPolicy?: RetryPolicy | undefined;
}

/** What can be said of a kind besides its name and its types. */
export interface KindOptions<P = any> extends KindDefaults {
  /** Of its payload, from 1: one more with each change that makes older payloads unreadable. Default 1. */
  readonly version?: number | undefined;
  /** By the version from which each leads to the next one: what makes a newer payload of an older one. */
  readonly upcasters?: Readonly<Record<number, Upcast | Upcaster>> | undefined;
  /** Older names of the kind, whose jobs its handler gets as well. */
  readonly aliases?: readonly string[] | undefined;
  /** The key of a job, by its payload as it was given. */
  readonly key?: ((payload: P) => string | undefined) | undefined;
  /** What makes its jobs unique, or answers that by the payload as it was given. */
  readonly unique?: Unique | ((payload: P) => Unique | undefined) | undefined;
  /**
   * Whether `schema()` keeps the words by which a library refuses fields that are not known, such as those of
   * `z.strictObject`. Default false: a server lets them in, so that a producer may add a field before its workers know it.
   */
  readonly strict?: boolean | undefined;
  /**
   * Whether payloads, outputs and checkpoints are encoded: `never`; `allowed`, where a program has encodings; or `required`,
   * only encrypted, so that a server that was told of the kind refuses plain text. Default: where a program has encodings;
   * what a server is told of it then differs between programs with and without.
   */
  readonly encodings?: EncodingRule | undefined;
  /** How many slots of a worker each of its jobs takes, 1 to 1000; `syncKinds` tells the server. Default: as the server has it. */
  readonly slotWeight?: number | undefined;
  /** The JSON Schema of the payload, where its library can't say it. */
  readonly jsonSchema?: JsonSchema | undefined;
}

/** A kind whose types are those of schemas. */
export interface KindDeclaration<
  Name extends string,
  PS extends StandardSchema,
  OS extends StandardSchema,
  Version extends number,
> extends KindOptions<InputOf<PS>> {
  readonly name: Name;
  /** The schema of its payloads. Default: any JSON. */
  readonly payload?: PS | undefined;
  /** The schema of its outputs. Default: it has none. */
  readonly output?: OS | undefined;
  readonly version?: Version | undefined;
}

/** What a producer of the kind gives. */
export type PayloadOf<K extends JobKind> = K["~types"]["payload"];

/** What a handler of the kind is. It gets what the schema makes of the payload, and returns what that of the output takes. */
export type TypedHandler<K extends JobKind> = (
  payload: K["~types"]["parsed"],
  ctx: JobContext,
) => Maybe<K["~types"]["output"]>;

/** What a call says that has the kind as a type alone: where its version is above 1, the header that says so. */
export type NamedOptions<K extends JobKind, Options> = K["~types"]["version"] extends 1
  ? [options?: Options]
  : [options: Options & { headers: { readonly [VERSION_HEADER]: `${K["~types"]["version"]}` } }];

/**
 * Declares a kind by types alone: nothing is checked when a program runs. It knows no server, and is registered nowhere.
 *
 * A version above 1 is a type as well: `defineKind<Mail, Sent, 2>("send-mail", { version: 2 })`.
 *
 * @throws RangeError A version is out of its range.
 * @throws TypeError An option is not what it is to be.
 */
export function defineKind<P = any, O = void, Version extends number = 1>(
  name: string,
  options?: KindOptions<P> & { readonly version?: Version | undefined },
): JobKind<P, O, P, O, string, Version>;
/**
 * Declares a kind, for its producers and its workers, with schemas of zod, valibot, arktype or any other library of
 * Standard Schema v1. It knows no server, and is registered nowhere.
 *
 *     export const sendMail = defineKind({
 *       name: "send-mail",
 *       payload: z.object({ to: z.email() }),
 *       output: z.object({ messageId: z.string() }),
 *     });
 *     await client.enqueue(sendMail, { to: "ada@example.org" });
 *
 * @throws RangeError A version is out of its range.
 * @throws TypeError An option is not what it is to be.
 */
export function defineKind<
  Name extends string,
  PS extends StandardSchema = StandardSchema,
  OS extends StandardSchema = StandardSchema<void, void>,
  Version extends number = 1,
>(
  declaration: KindDeclaration<Name, PS, OS, Version>,
): JobKind<InputOf<PS>, InputOf<OS>, OutputOf<PS>, OutputOf<OS>, Name, Version>;
export function defineKind(
  what: string | KindDeclaration<string, StandardSchema, StandardSchema, number>,
  options: KindOptions = {},
): JobKind {
  if (typeof what === "string") return new JobKind(what, options, undefined);
  const { name, payload, output, ...rest } = what;
  return new JobKind(name, rest, { payload, output });
}
