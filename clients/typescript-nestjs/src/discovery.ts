/** The handlers of an app: which there are, and how each is called. */

import type { Handler, JobKind } from "@jobqueue/client";
import { ContextIdFactory, ModuleRef } from "@nestjs/core";
import type { ModulesContainer } from "@nestjs/core";

import { declarationsOf } from "./handler.js";
import type { Declaration, JobHandlerOptions } from "./handler.js";

type Module = ModulesContainer extends Map<string, infer M> ? M : never;
type Wrapper = Module["providers"] extends Map<unknown, infer W> ? W : never;

/** A handler of the app. */
export interface Found {
  readonly kind: string | JobKind;
  readonly options: JobHandlerOptions;
  /** Takes what the method takes. Its name is that of class and method. */
  readonly run: Handler;
}

/**
 * The handlers of all providers.
 *
 * @throws Error A method of a class that is no provider is declared as one, or two are of one kind.
 */
export function found(modules: ModulesContainer): Found[] {
  const handlers: Found[] = [];
  const classes = new Set<unknown>();
  for (const module of modules.values()) {
    for (const wrapper of module.providers.values()) {
      const prototype = wrapper.isAlias ? undefined : prototypeOf(wrapper);
      if (prototype === undefined) continue;
      classes.add(prototype);
      for (const each of declarationsOf(prototype)) {
        handlers.push({
          kind: each.kind,
          options: each.options,
          run: handlerOf(each, prototype, wrapper, module),
        });
      }
    }
  }
  for (const module of modules.values()) {
    for (const wrapper of [...module.controllers.values(), ...module.injectables.values()]) {
      const prototype = prototypeOf(wrapper as Wrapper);
      if (prototype === undefined || classes.has(prototype)) continue;
      const [first] = declarationsOf(prototype);
      if (first === undefined) continue;
      throw new Error(
        `${nameOf(first, prototype)} is a handler of ${namesOf(first.kind)[0]} and is attached to no worker: its class is no ` +
          "provider; handlers are methods of providers",
      );
    }
  }
  checkKinds(handlers);
  return handlers;
}

/** The name of a kind, and its aliases. */
function namesOf(kind: string | JobKind): string[] {
  return typeof kind === "string" ? [kind] : [kind.name, ...kind.aliases];
}

function checkKinds(handlers: readonly Found[]): void {
  const first = new Map<string, Found>();
  for (const each of handlers) {
    for (const name of namesOf(each.kind)) {
      const other = first.get(name);
      if (other !== undefined) {
        throw new Error(
          `${name} has two handlers: ${other.run.name} and ${each.run.name}; a kind has one in an app`,
        );
      }
      first.set(name, each);
    }
  }
}

/** Of a class that Nest makes, its prototype; of another value, what it inherits from. */
function prototypeOf(wrapper: Wrapper): object | undefined {
  if (!wrapper.isNotMetatype) return (wrapper.metatype as { prototype?: object }).prototype;
  const { instance } = wrapper;
  return typeof instance === "object" && instance !== null ? Object.getPrototypeOf(instance) : undefined;
}

function nameOf({ method }: Declaration, prototype: object): string {
  return `${prototype.constructor.name}.${String(method)}`;
}

function handlerOf(declared: Declaration, prototype: object, wrapper: Wrapper, module: Module): Handler {
  const call = (instance: any, what: unknown, ctx: unknown): unknown => instance[declared.method](what, ctx);
  const perAttempt = wrapper.isTransient || !wrapper.isDependencyTreeStatic();
  const refs = module.getProviderByKey<ModuleRef>(ModuleRef);
  const run: Handler = perAttempt
    ? async (what, ctx) => {
        const id = ContextIdFactory.create();
        refs.instance.registerRequestByContextId(ctx, id);
        return call(await refs.instance.resolve(wrapper.token, id, { strict: true }), what, ctx);
      }
    : (what, ctx) => call(wrapper.instance, what, ctx);
  return Object.defineProperty(run, "name", { value: nameOf(declared, prototype) });
}
