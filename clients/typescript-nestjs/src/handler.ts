/** The decorator, and what it leaves at a class. */

import type { Handler, HandlerOptions, JobKind, TypedHandler } from "@jobqueue/client";

/** What can be said of a handler. */
export interface JobHandlerOptions extends HandlerOptions {
  /** The worker that runs it, by its name in the option `workers`, or several. Default: `default`. */
  readonly worker?: string | readonly string[] | undefined;
}

/** One use of the decorator. */
export interface Declaration {
  readonly method: string | symbol;
  readonly kind: string | JobKind;
  readonly options: JobHandlerOptions;
}

type Decorates<H> = <M extends H>(
  target: object,
  method: string | symbol,
  descriptor: TypedPropertyDescriptor<M>,
) => void;

// By its name in the registry of symbols: there may be two copies of this package.
const DECLARED = Symbol.for("@jobqueue/nestjs:handlers");

/** Where declarations are kept: at the prototype whose method was decorated. */
type Declaring = { [DECLARED]?: Declaration[] };

/**
 * Makes a method of a provider the handler of a typed kind, and of its aliases: it takes the payload and the context, and
 * returns the output.
 *
 *     @Injectable()
 *     export class Receipts {
 *       @JobHandler(sendReceipt, { slots: 4 })
 *       async deliver(receipt: Receipt, ctx: JobContext): Promise<string> { ... }
 *     }
 *
 * A provider that is request-scoped, or depends on one that is, is made anew for each attempt; `REQUEST` is then the
 * attempt's `JobContext`.
 *
 * @throws TypeError It stands at something else than a method of instances, or the kind is none.
 */
export function JobHandler<K extends JobKind>(
  kind: K,
  options?: JobHandlerOptions,
): Decorates<TypedHandler<K>>;
/** Makes a method of a provider the handler of a kind, by its name: it takes the job and the context. */
export function JobHandler(kind: string, options?: JobHandlerOptions): Decorates<Handler>;
export function JobHandler(kind: string | JobKind, options: JobHandlerOptions = {}): Decorates<never> {
  if (typeof kind !== "string" && typeof kind?.name !== "string") {
    throw new TypeError("JobHandler takes a kind: its name, or what defineKind made");
  }
  return (target: object, method: unknown, descriptor: unknown) => {
    if (typeof method !== "string" && typeof method !== "symbol") {
      throw new TypeError(
        "JobHandler is a decorator of TypeScript's experimentalDecorators, as those of Nest are",
      );
    }
    if (typeof target === "function" || typeof (descriptor as PropertyDescriptor)?.value !== "function") {
      const name = typeof target === "function" ? target.name : target.constructor.name;
      throw new TypeError(`JobHandler is for methods of instances, and ${name}.${String(method)} is none`);
    }
    const owner = target as Declaring;
    if (!Object.hasOwn(owner, DECLARED)) Object.defineProperty(owner, DECLARED, { value: [] });
    owner[DECLARED]!.push({ method, kind, options });
  };
}

/** The handlers of a class, by its prototype, with those that it inherits and does not declare itself. */
export function declarationsOf(prototype: object): Declaration[] {
  const found: Declaration[] = [];
  for (let each: object | null = prototype; each !== null; each = Object.getPrototypeOf(each)) {
    if (!Object.hasOwn(each, DECLARED)) continue;
    const known = new Set(found.map(({ method }) => method));
    found.push(...(each as Declaring)[DECLARED]!.filter(({ method }) => !known.has(method)));
  }
  return found;
}
