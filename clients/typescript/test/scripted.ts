/** A server whose every frame the test says, on a real socket. */

import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

import { Insight } from "../src/gen/jobqueue/v1/insight_pb.js";
import { JobQueue } from "../src/gen/jobqueue/v1/jobqueue_pb.js";
import { QueueAdmin } from "../src/gen/jobqueue/v1/queue_admin_pb.js";
import { LeaseResponseSchema } from "../src/gen/jobqueue/v1/lease_pb.js";
import { Schedules } from "../src/gen/jobqueue/v1/schedule_pb.js";
import type { Worker } from "../src/index.js";
import type { Hello, LeaseRequest, LeaseResponse, LeasedJob } from "../src/gen/jobqueue/v1/lease_pb.js";

const WITHIN_MS = 10_000;

/** What one side puts and the other takes, in order. */
export class Queue<T> {
  #values: T[] = [];
  #takers: ((value: T) => void)[] = [];

  put(value: T): void {
    const taker = this.#takers.shift();
    if (taker) taker(value);
    else this.#values.push(value);
  }

  take(what: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const value = this.#values.shift();
      if (value !== undefined) return resolve(value);
      const timer = setTimeout(() => reject(new Error(`no ${what} within ${WITHIN_MS} ms`)), WITHIN_MS);
      // A stream that waits for its next answer when the tests are over holds up nothing.
      timer.unref();
      this.#takers.push((taken) => {
        clearTimeout(timer);
        resolve(taken);
      });
    });
  }
}

/** What each sort of frame holds. */
type Values = {
  [F in LeaseRequest["frame"] as F["case"] & string]: F extends { value: infer V } ? V : never;
};
type JobInit = Pick<LeasedJob, "leaseId"> &
  Partial<Pick<LeasedJob, "attempt" | "kind" | "content" | "headers">>;

/** One Lease stream, as the server sees it. */
export class ScriptedStream {
  readonly requests = new Queue<LeaseRequest | undefined>();
  readonly responses = new Queue<LeaseResponse | undefined>();
  readonly token: string | null;
  /** Resolves when the worker has let the stream go. */
  readonly gone: Promise<void>;
  hello!: Hello;
  #welcomed = false;

  constructor(token: string | null, gone: Promise<void>) {
    this.token = token;
    this.gone = gone;
  }

  /** Sends a frame. */
  send(frame: MessageInitShape<typeof LeaseResponseSchema>["frame"]): void {
    this.responses.put(create(LeaseResponseSchema, { frame: frame ?? { case: undefined } }));
  }

  welcome(
    init: {
      heartbeatMs?: number;
      token?: string;
      revoked?: { leaseId: bigint }[];
      ttlS?: number;
      unknownKinds?: string[];
    } = {},
  ): void {
    const ms = init.heartbeatMs ?? 60_000;
    const heartbeatInterval = { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 };
    const { token = "t1", revoked = [], unknownKinds = [] } = init;
    const sessionTtl = { seconds: BigInt(init.ttlS ?? 30), nanos: 0 };
    this.#welcomed = true;
    this.send({
      case: "welcome",
      value: {
        sessionId: 7n,
        sessionToken: token,
        server: "server-1",
        heartbeatInterval,
        sessionTtl,
        revoked,
        unknownKinds,
      },
    });
  }

  deliver(seq: bigint, ...jobs: JobInit[]): void {
    const filled = jobs.map((job) => ({ id: `job-${job.leaseId}`, attempt: 1, kind: "work", ...job }));
    this.send({ case: "delivery", value: { seq, jobs: filled } });
  }

  answer(seq: bigint): void {
    this.send({ case: "settled", value: { seq } });
  }

  /** The next frame of this sort; others on the way are passed over. */
  async next<C extends keyof Values>(wanted: C): Promise<Values[C] & { lastDelivery: bigint }> {
    for (;;) {
      const request = await this.request(wanted);
      if (request.frame.case === wanted) {
        const { lastDelivery } = request;
        return Object.assign(request.frame.value as Values[C] & object, { lastDelivery });
      }
    }
  }

  /** The next frame of any sort. */
  async request(what = "frame"): Promise<LeaseRequest> {
    const request = await this.requests.take(what);
    if (request === undefined) throw new Error(`the stream ended without a ${what}`);
    return request;
  }

  end(): void {
    this.responses.put(undefined);
  }

  /** From here on answers as a server would that has nothing more to say, so that a worker can leave. */
  async letGo(): Promise<void> {
    if (!this.#welcomed) this.welcome();
    for (;;) {
      const { frame } = await this.request();
      if (frame.case === "settle") this.answer(frame.value.seq);
      if (frame.case === "drain") this.send({ case: "goodbye", value: {} });
    }
  }
}

/** A server of the test's. */
export class ScriptedServer {
  address = "";
  readonly #streams = new Queue<ScriptedStream>();
  readonly #server: http2.Http2Server;
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  readonly #accepted: ScriptedStream[] = [];
  readonly #workers: (() => Promise<void>)[] = [];

  constructor(
    methods: Partial<ServiceImpl<typeof JobQueue>>,
    insight: Partial<ServiceImpl<typeof Insight>>,
    admin: Partial<ServiceImpl<typeof QueueAdmin>>,
    schedules: Partial<ServiceImpl<typeof Schedules>> = {},
  ) {
    const streams = this.#streams;
    const handler = connectNodeAdapter({
      routes: (router) =>
        router
          .service(Insight, insight)
          .service(QueueAdmin, admin)
          .service(Schedules, schedules)
          .service(JobQueue, {
            async *lease(requests, context) {
              const gone = new Promise<void>((resolve) => {
                context.signal.addEventListener("abort", () => resolve());
              });
              const stream = new ScriptedStream(context.requestHeader.get("authorization"), gone);
              void feed(requests, stream, streams);
              for (;;) {
                const response = await stream.responses.take("response of the script").catch(() => undefined);
                if (response === undefined) return;
                yield response;
              }
            },
            ...methods,
          }),
    });
    this.#server = http2.createServer(handler);
    this.#server.on("session", (session) => {
      this.#sessions.add(session);
      session.on("close", () => this.#sessions.delete(session));
    });
  }

  /** A server that answers until the test is over. */
  static async start(
    t: TestContext,
    methods: Partial<ServiceImpl<typeof JobQueue>> = {},
    insight: Partial<ServiceImpl<typeof Insight>> = {},
    admin: Partial<ServiceImpl<typeof QueueAdmin>> = {},
    schedules: Partial<ServiceImpl<typeof Schedules>> = {},
  ): Promise<ScriptedServer> {
    const server = new ScriptedServer(methods, insight, admin, schedules);
    await server.listen();
    t.after(() => server.close());
    return server;
  }

  async listen(port = 0): Promise<void> {
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
    this.address = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next stream that a worker opens. */
  async accept(): Promise<ScriptedStream> {
    const stream = await this.#streams.take("stream");
    this.#accepted.push(stream);
    return stream;
  }

  /** Runs a worker until the test is over. */
  serve(worker: Worker): Promise<void> {
    const served = worker.serve();
    this.#workers.push(async () => {
      for (const stream of this.#accepted) stream.letGo().catch(() => undefined);
      worker.stop({ graceMs: 0 });
      await served.catch(() => undefined);
    });
    return served;
  }

  async close(): Promise<void> {
    for (const end of this.#workers) await end();
    this.stop();
  }

  stop(): void {
    for (const session of this.#sessions) session.destroy();
    this.#server.close();
  }
}

async function feed(
  requests: AsyncIterable<LeaseRequest>,
  stream: ScriptedStream,
  streams: Queue<ScriptedStream>,
): Promise<void> {
  try {
    for await (const request of requests) {
      if (request.frame.case === "hello") {
        stream.hello = request.frame.value;
        streams.put(stream);
      } else {
        stream.requests.put(request);
      }
    }
  } catch {
    // The worker let it go.
  }
  stream.requests.put(undefined);
}
