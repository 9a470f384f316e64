/** `/livez` and `/readyz` of a worker. */

import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";

import { statusJson } from "./status.js";
import type { StatusBook } from "./status.js";

// A caller that connects and says nothing is let go.
const READ_WITHIN_MS = 5000;

const PATHS: Readonly<Record<string, (book: StatusBook) => boolean>> = {
  "/livez": (book) => book.alive,
  "/readyz": (book) => book.ready,
};

/** Listens on `host:port`, and answers by the status of the worker. */
export class HealthServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** @throws Error Nothing can listen there; the text names the address. */
  static async listen(address: string, book: StatusBook): Promise<HealthServer> {
    const { host, port } = hostAndPort(address);
    const server = createServer({ requestTimeout: READ_WITHIN_MS }, (request, response) =>
      answer(book, request, response),
    );
    server.listen(port, host);
    try {
      await once(server, "listening");
    } catch (error) {
      const why = (error as NodeJS.ErrnoException).code ?? String(error);
      throw new Error(`health can't be served at ${address}: ${why}`, { cause: error });
    }
    return new HealthServer(server);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** The two parts of an address; throws a RangeError where it is none. */
export function hostAndPort(address: string): { host: string; port: number } {
  const found = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d+)$/.exec(address);
  const port = Number(found?.[3]);
  if (found === null || port > 65_535) {
    throw new RangeError(
      `health is ${JSON.stringify(address)}; it is host:port, for example "127.0.0.1:8081"`,
    );
  }
  return { host: found[1] ?? found[2] ?? "", port };
}

function answer(book: StatusBook, request: IncomingMessage, response: ServerResponse): void {
  const path = (request.url ?? "").split("?", 1)[0] ?? "";
  const check = Object.hasOwn(PATHS, path) ? PATHS[path] : undefined;
  if (check === undefined) {
    say(response, 404, { error: "not_found", message: "there are /livez and /readyz" });
  } else if (request.method !== "GET") {
    response.setHeader("allow", "GET");
    say(response, 405, { error: "method_not_allowed", message: "use GET" });
  } else {
    say(response, check(book) ? 200 : 503, statusJson(book.status()));
  }
}

function say(response: ServerResponse, code: number, body: object): void {
  response.writeHead(code, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify(body));
}
