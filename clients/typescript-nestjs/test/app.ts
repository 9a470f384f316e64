/** Apps for tests, in a namespace of a real server. */

import "reflect-metadata";

import { randomUUID } from "node:crypto";

import type { Job } from "@jobqueue/client";
import { testScope } from "@jobqueue/client/testing";
import type { TestScope } from "@jobqueue/client/testing";
import type { INestApplicationContext, ModuleMetadata } from "@nestjs/common";
import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";

import { JobQueueModule } from "../src/index.js";
import type { JobQueueOptions } from "../src/index.js";

/** Nothing listens there. */
export const NOWHERE = "127.0.0.1:1";

/** A scope that knows these kinds. */
export async function scopeOf(...kinds: readonly string[]): Promise<TestScope> {
  const scope = await testScope();
  for (const name of kinds) await scope.client.putKind({ name });
  return scope;
}

/** The root module of an app. */
export function rootOf(metadata: ModuleMetadata, options: JobQueueOptions): new () => object {
  @Module({ ...metadata, imports: [...(metadata.imports ?? []), JobQueueModule.forRoot(options)] })
  class Root {}
  return Root;
}

/** An app that ends with its block. */
export class App implements AsyncDisposable {
  constructor(readonly nest: INestApplicationContext) {}

  static async start(metadata: ModuleMetadata, options: JobQueueOptions): Promise<App> {
    const root = rootOf(metadata, options);
    return new App(await NestFactory.createApplicationContext(root, { logger: false, abortOnError: false }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.nest.close();
  }
}

/** Where an app finds the scope. */
export function at(scope: TestScope): { server: string; token: string } {
  return { server: scope.target, token: scope.key };
}

/** Enqueues a job and waits for its end. */
export async function worked(scope: TestScope, kind: string, payload: unknown = {}): Promise<Job> {
  const job = await scope.client.enqueue(kind, payload, { idempotencyKey: randomUUID() });
  return scope.client.wait(job.id, { timeoutMs: 60_000 });
}

/** A promise that is resolved by hand. */
export class Event<T = void> {
  readonly happened: Promise<T>;
  happens!: (value: T) => void;

  constructor() {
    this.happened = new Promise((resolve) => (this.happens = resolve));
  }
}
