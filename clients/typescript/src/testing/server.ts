/** A real server for tests: the one that the environment names, or one that is started and ends with the tests. */

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import type { Socket } from "node:net";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";

import { createClient } from "@connectrpc/connect";
import type { CallOptions, Client as Stub } from "@connectrpc/connect";

import { connect } from "../access.js";
import { call } from "../calls.js";
import { timers } from "../clock.js";
import { AccessAdmin } from "../gen/jobqueue/v1/access_admin_pb.js";
import { Access_Permission as Permission } from "../gen/jobqueue/v1/access_pb.js";

const START_WITHIN_MS = 120_000;
const DEADLINE_MS = 30_000;
const MISSING = `there is no server for tests. One of these makes one known:
  uv tool install 'jobqueue-server[embedded]'        a server is started, and ends with the tests (Linux)
  JOBQUEUE_SERVER_COMMAND='/opt/jq/jobqueue-server'  the same, by that command
  JOBQUEUE_TEST_SERVER=127.0.0.1:50051               one that runs, such as a container of it
  JOBQUEUE_TEST_KEY=jq_...                           and the key of an administrator, where it asks for keys`;

/** There is no server for tests, or it does not start. The text says what would help. */
export class ServerMissing extends Error {
  override readonly name = "ServerMissing";
}

/** A namespace that was made for one test, and a key that permits everything in it. */
export interface ScopeKey {
  /** The server. */
  readonly target: string;
  readonly namespace: string;
  readonly key: string;
}

/**
 * A real server, for tests that share it: each has a namespace of its own, so they do not see each other's jobs.
 *
 * It is found in this order; nothing is downloaded. JOBQUEUE_TEST_SERVER: the address of one that runs, with the key of an
 * administrator in JOBQUEUE_TEST_KEY. JOBQUEUE_SERVER_COMMAND: what is run, with `ephemeral` behind it. `jobqueue-server` on
 * PATH.
 *
 * A server that was started ends by `close`, and with this process in whatever way that ends. With JOBQUEUE_TEST_SHARED=1 all
 * processes of this user that ask so have the same one, until the last of them has ended: a test runner has one for each file.
 */
export class TestServer {
  /** Its address, HOST:PORT. */
  readonly target: string;
  /** An administrator's. Empty: it asks for none. */
  readonly key: string;
  #process: ChildProcess | undefined;

  private constructor(target: string, key: string, process?: ChildProcess) {
    this.target = target;
    this.key = key;
    this.#process = process;
  }

  /**
   * Finds or starts it. Starting takes some seconds.
   *
   * @throws ServerMissing There is none, or it does not start.
   */
  static async start(): Promise<TestServer> {
    const { env } = process;
    const target = env["JOBQUEUE_TEST_SERVER"];
    if (target) return new TestServer(target, env["JOBQUEUE_TEST_KEY"] ?? "");
    const [program = "", ...more] = command();
    const shared = !["", "0"].includes(env["JOBQUEUE_TEST_SHARED"] ?? "");
    const args = [...more, "ephemeral", ...(shared ? ["--shared"] : [])];
    const shown = [program, ...args].join(" ");
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    const overdue = timers.setTimeout(() => child.kill("SIGKILL"), START_WITHIN_MS);
    const exited = once(child, "exit") as Promise<[number | null, string | null]>;
    exited.catch(() => undefined);
    try {
      const failed = once(child, "error").then(([error]) => {
        throw new ServerMissing(`${shown} can't be started: ${(error as Error).message}`);
      });
      const lines = createInterface({ input: child.stdout });
      const line = await Promise.race([firstOf(lines), failed]);
      if (line === undefined) {
        const [code, signal] = await exited;
        throw new ServerMissing(
          `${shown} ended with ${code ?? signal} before it answered; its words are above. A server that does not know ` +
            "`ephemeral` is too old for this client",
        );
      }
      const said = answer(shown, line);
      // It keeps no test run from its end, and ends with it.
      child.unref();
      for (const stream of [child.stdin, child.stdout]) (stream as unknown as Socket).unref();
      return new TestServer(said.grpc, said.key, child);
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    } finally {
      timers.clearTimeout(overdue);
    }
  }

  /** Ends the server, if it was started here. */
  async close(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.ref();
    const ended = once(child, "exit");
    child.stdin?.end();
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Makes a namespace, and a key that permits everything in it.
   *
   * @throws JobQueueError The server refuses it, such as for a key that is no administrator's of `default`.
   */
  async openScope(): Promise<ScopeKey> {
    const namespace = `t-${crypto.randomUUID().replaceAll("-", "")}`;
    const permissions = [Permission.ENQUEUE, Permission.WORK, Permission.READ, Permission.OPERATE];
    const grants = [{ permissions, queues: ["*"], payloads: true }, { permissions: [Permission.ADMIN] }];
    return this.#ask(async (stub) => {
      await asked((options) => stub.createNamespace({ name: namespace }, options));
      const made = await asked((options) => stub.createKey({ name: "tests", grants, namespace }, options));
      return { target: this.target, namespace, key: made.secret };
    });
  }

  /** Disables a namespace: its workers and clients are refused from then on. It stays until the server ends. */
  async closeScope(namespace: string): Promise<void> {
    await this.#ask((stub) => asked((options) => stub.disableNamespace({ name: namespace }, options)));
  }

  async #ask<T>(what: (stub: Stub<typeof AccessAdmin>) => Promise<T>): Promise<T> {
    const connection = connect(this.target, { token: this.key || undefined, traces: false });
    try {
      return await what(createClient(AccessAdmin, connection.transport));
    } finally {
      connection.close();
    }
  }
}

function asked<T>(method: (options: CallOptions) => Promise<T>): Promise<T> {
  return call(method, { deadlineMs: DEADLINE_MS, signal: undefined, retry: false });
}

/** Where a server says that it answers. */
function answer(shown: string, line: string): { grpc: string; key: string } {
  try {
    const said = JSON.parse(line) as { grpc?: unknown; key?: unknown };
    if (typeof said.grpc === "string" && typeof said.key === "string")
      return { grpc: said.grpc, key: said.key };
  } catch {
    // It is said below.
  }
  throw new ServerMissing(
    `${shown} must say in a line of JSON where it answers, and said: ${line.slice(0, 200)}`,
  );
}

async function firstOf(lines: AsyncIterable<string>): Promise<string | undefined> {
  for await (const line of lines) return line;
  return undefined;
}

/** What starts a server. */
function command(): string[] {
  const { env } = process;
  const given = env["JOBQUEUE_SERVER_COMMAND"];
  // As a shell would split it, with words in quotes.
  if (given) return [...given.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) => unquoted(word));
  const places = (env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const found = places.map((folder) => join(folder, "jobqueue-server")).find(existsSync);
  if (found === undefined) throw new ServerMissing(MISSING);
  return [found];
}

function unquoted(word: string): string {
  return word.replaceAll(/"([^"]*)"|'([^']*)'/g, "$1$2");
}
