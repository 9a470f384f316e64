/** How client and worker reach a server: TLS, the token and the connection's own settings. */

import { Http2SessionManager, createGrpcTransport } from "@connectrpc/connect-node";
import type { Interceptor, Transport } from "@connectrpc/connect";

import { InvalidRequest } from "./errors.js";
import { tracesOfProcess, tracesWanted } from "./traces.js";

/** A token, or a function that is asked for one at each call, for tokens that are renewed. */
export type Token = string | (() => string | Promise<string>);

/** TLS. The certificates are texts in PEM, not the names of files. */
export interface TlsOptions {
  /** The certificates that sign the server's. Undefined: those of the public authorities. */
  ca?: string | Uint8Array;
  /** The certificate that this side shows, where the server wants one. */
  cert?: string | Uint8Array;
  /** Its key, without a password. */
  key?: string | Uint8Array;
  /** The name that the server's certificate must bear, if it is not the address's. */
  serverName?: string;
}

/** How to speak to a server. */
export interface AccessOptions {
  /** TLS. Undefined: plain text. */
  tls?: TlsOptions | undefined;
  /** Sent as `authorization: Bearer <token>` with every call. */
  token?: Token | undefined;
  /**
   * Whether sampled jobs have a span, and calls say which trace they belong to, by `@opentelemetry/api`. Default: where
   * OTEL_EXPORTER_OTLP_ENDPOINT is set.
   */
  traces?: boolean | undefined;
}

/** A connection. It opens at the first call. */
export interface Connection {
  readonly transport: Transport;
  /** Ends it at once, with all calls on it. */
  close(): void;
}

// What batches and pages may measure (4 MiB) and room for the frame around them.
const MESSAGE_BYTES = 5 * 1024 * 1024;
// A dead connection is found 10 + 5 s after its last sign of life.
const PING_INTERVAL_MS = 10_000;
const PING_TIMEOUT_MS = 5_000;
// By default HTTP/2 lets 64 KiB be on their way, which a single delivery may pass.
const WINDOW_BYTES = 1024 * 1024;

/**
 * Sessions of HTTP/2 whose errors always have a listener. One that breaks tells its error later, when its socket has closed;
 * if the manager was closed meanwhile, it listens no more, and the error would end the process.
 */
class Sessions extends Http2SessionManager {
  readonly #heard = new WeakSet<object>();

  override async request(
    ...given: Parameters<Http2SessionManager["request"]>
  ): ReturnType<Http2SessionManager["request"]> {
    const stream = await super.request(...given);
    const { session } = stream;
    if (session !== undefined && !this.#heard.has(session)) {
      this.#heard.add(session);
      session.on("error", () => undefined);
    }
    return stream;
  }
}

/** A connection of its own to the address, for example `127.0.0.1:50051` or `dns:///jobs.internal:50051`. */
export function connect(target: string, access: AccessOptions): Connection {
  const baseUrl = urlOf(target, access.tls !== undefined);
  const manager = new Sessions(
    baseUrl,
    { pingIntervalMs: PING_INTERVAL_MS, pingTimeoutMs: PING_TIMEOUT_MS },
    { settings: { initialWindowSize: WINDOW_BYTES }, ...nodeTls(access.tls) },
  );
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager: manager,
    interceptors: [
      ...(access.token === undefined ? [] : [bearer(access.token)]),
      ...((access.traces ?? tracesWanted(process.env)) ? [traced] : []),
    ],
    readMaxBytes: MESSAGE_BYTES,
    writeMaxBytes: MESSAGE_BYTES,
    // Payloads are small and cores are few.
    acceptCompression: [],
  });
  return { transport, close: () => manager.abort() };
}

/** The address as a URL; throws an InvalidRequest where it is none. */
export function urlOf(target: string, tls: boolean): string {
  const scheme = /^https?:\/\//i.test(target);
  const address = target.replace(/^dns:\/{2,3}/, "");
  const url = `${tls ? "https" : "http"}://${address}`;
  const port = Number(/:(\d+)\/?$/.exec(address)?.[1] ?? 0);
  // More than 65535 is no URL.
  if (!scheme && port > 0 && URL.canParse(url)) return url;
  const description = `must be HOST:PORT, such as 127.0.0.1:50051${scheme ? ", without http://" : ""}`;
  throw new InvalidRequest(`target: ${description}`, {
    code: "INVALID_ARGUMENT",
    reason: "FIELD_INVALID",
    violations: [{ field: "target", description }],
  });
}

/** TLS as Node's own options; throws a TypeError where a certificate or key is none. */
export function nodeTls(tls: TlsOptions | undefined): Record<string, unknown> {
  if (tls === undefined) return {};
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw new TypeError("a client's certificate and its key go together; one of them is missing");
  }
  const { serverName, ...pems } = tls;
  for (const [name, value] of Object.entries(pems)) {
    if (!Buffer.from(value as Uint8Array).includes("-----BEGIN ")) {
      throw new TypeError(`tls.${name} is no PEM text: it has no line -----BEGIN ...-----`);
    }
  }
  return { ...pems, ...(serverName === undefined ? {} : { servername: serverName }) };
}

const traced: Interceptor = (next) => async (request) => {
  const traceparent = (await tracesOfProcess())?.traceparent();
  if (traceparent !== undefined) request.header.set("traceparent", traceparent);
  return next(request);
};

function bearer(token: Token): Interceptor {
  return (next) => async (request) => {
    request.header.set("authorization", `Bearer ${typeof token === "string" ? token : await token()}`);
    return next(request);
  };
}
