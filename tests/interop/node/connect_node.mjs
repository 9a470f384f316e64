// The named interop cases of gRPC by the gRPC transport of @connectrpc/connect-node, one a run:
// node connect_node.mjs --descriptors=FILE --server_host=HOST --server_port=PORT --test_case=CASE --use_tls=BOOL --ca_file=PEM

import { readFileSync } from "node:fs";

import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { compressionGzip, createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import * as cases from "./cases.mjs";
import { check, fails } from "./cases.mjs";

const payload = (size) => ({ body: new Uint8Array(size) });
const large = (more = {}) => ({ responseSize: cases.RESPONSE_SIZE, payload: payload(cases.REQUEST_SIZE), ...more });
const asks = (size, answer) => ({ responseParameters: [{ size: answer }], payload: payload(size) });
const timeoutMs = cases.SECONDS * 1000;

async function all(stream) {
  const responses = [];
  for await (const response of stream) responses.push(response);
  return responses;
}

/** What a stream sends: as it is said, until it is ended. */
class Requests {
  #waiting = [];
  #wake = () => {};

  say(...requests) {
    this.#waiting.push(...requests);
    this.#wake();
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      while (this.#waiting.length > 0) {
        const request = this.#waiting.shift();
        if (request === null) return;
        yield request;
      }
      await new Promise((resolve) => (this.#wake = resolve));
    }
  }
}

async function* several(...requests) {
  yield* requests;
}

function connect(options) {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(options.descriptors)));
  const baseUrl = `${options.tls ? "https" : "http"}://${options.server_host}:${options.server_port}`;
  const nodeOptions = options.tls ? { ca: readFileSync(options.ca_file) } : {};
  const sessions = [];
  const transport = (settings = {}) => {
    const sessionManager = new Http2SessionManager(baseUrl, {}, nodeOptions);
    sessions.push(sessionManager);
    return createGrpcTransport({ baseUrl, sessionManager, ...settings });
  };
  const service = registry.getService("grpc.testing.TestService");
  const plain = transport();
  const client = createClient(service, plain);

  const known = {
    async empty_unary() {
      await client.emptyCall({}, { timeoutMs });
    },
    async large_unary() {
      cases.isLarge((await client.unaryCall(large(), { timeoutMs })).payload);
    },
    async client_streaming() {
      const requests = several(...cases.REQUEST_SIZES.map((size) => ({ payload: payload(size) })));
      const total = (await client.streamingInputCall(requests, { timeoutMs })).aggregatedPayloadSize;
      check(total === 74_922, `the total is ${total}`);
    },
    async server_streaming() {
      const request = { responseParameters: cases.RESPONSE_SIZES.map((size) => ({ size })) };
      cases.areSized(await all(client.streamingOutputCall(request, { timeoutMs })), cases.RESPONSE_SIZES);
    },
    async ping_pong() {
      const requests = new Requests();
      const responses = client.fullDuplexCall(requests, { timeoutMs })[Symbol.asyncIterator]();
      for (const [index, size] of cases.REQUEST_SIZES.entries()) {
        requests.say(asks(size, cases.RESPONSE_SIZES[index]));
        const { value, done } = await responses.next();
        check(!done, "the answers ended early");
        cases.areSized([value], [cases.RESPONSE_SIZES[index]]);
      }
      requests.say(null);
      check((await responses.next()).done, "there is an answer too many");
    },
    async empty_stream() {
      cases.areSized(await all(client.fullDuplexCall(several(), { timeoutMs })), []);
    },
    async custom_metadata() {
      const metadata = [cases.INITIAL, [cases.TRAILING[0], cases.TRAILING[1].toString("base64")]];
      const asking = (found) => ({
        timeoutMs,
        headers: metadata,
        onHeader: (headers) => (found.initial = headers),
        onTrailer: (trailers) => (found.trailing = trailers),
      });
      const [one, streamed] = [{}, {}];
      await client.unaryCall(large(), asking(one));
      const request = asks(cases.REQUEST_SIZE, cases.RESPONSE_SIZE);
      cases.areSized(await all(client.fullDuplexCall(several(request), asking(streamed))), [cases.RESPONSE_SIZE]);
      for (const { initial, trailing } of [one, streamed]) {
        check(initial.get(cases.INITIAL[0]) === cases.INITIAL[1], "the initial metadata has not what was sent");
        const binary = Buffer.from(trailing.get(cases.TRAILING[0]) ?? "", "base64");
        check(cases.TRAILING[1].equals(binary), "the trailing metadata has not what was sent");
      }
    },
    async status_code_and_message() {
      const request = { responseStatus: cases.STATUS };
      await fails(client.unaryCall(request, { timeoutMs }), Code.Unknown, cases.STATUS.message);
      const streamed = all(client.fullDuplexCall(several(request), { timeoutMs }));
      await fails(streamed, Code.Unknown, cases.STATUS.message);
    },
    async special_status_message() {
      const request = { responseStatus: { code: Code.Unknown, message: cases.SPECIAL } };
      await fails(client.unaryCall(request, { timeoutMs }), Code.Unknown, cases.SPECIAL);
    },
    async unimplemented_method() {
      await fails(client.unimplementedCall({}, { timeoutMs }), Code.Unimplemented);
    },
    async unimplemented_service() {
      const other = createClient(registry.getService("grpc.testing.UnimplementedService"), plain);
      await fails(other.unimplementedCall({}, { timeoutMs }), Code.Unimplemented);
    },
    async cancel_after_begin() {
      const cancel = new AbortController();
      const call = client.streamingInputCall(new Requests(), { signal: cancel.signal });
      cancel.abort();
      await fails(call, Code.Canceled);
    },
    async cancel_after_first_response() {
      const cancel = new AbortController();
      const requests = new Requests();
      requests.say(asks(cases.REQUEST_SIZES[0], cases.RESPONSE_SIZES[0]));
      const responses = client.fullDuplexCall(requests, { signal: cancel.signal })[Symbol.asyncIterator]();
      cases.areSized([(await responses.next()).value], [cases.RESPONSE_SIZES[0]]);
      cancel.abort();
      await fails(responses.next(), Code.Canceled);
    },
    async timeout_on_sleeping_server() {
      const requests = new Requests();
      requests.say({ payload: payload(cases.REQUEST_SIZES[0]) });
      await fails(all(client.fullDuplexCall(requests, { timeoutMs: 1 })), Code.DeadlineExceeded);
    },
    async client_compressed_unary() {
      const gzip = createClient(service, transport({ sendCompression: compressionGzip, compressMinBytes: 0 }));
      const ask = (who, value) => who.unaryCall(large({ expectCompressed: { value } }), { timeoutMs });
      await fails(ask(client, true), Code.InvalidArgument);
      cases.isLarge((await ask(gzip, true)).payload);
      cases.isLarge((await ask(client, false)).payload);
    },
    async server_compressed_unary() {
      for (const value of [true, false]) {
        let encoding;
        const onHeader = (headers) => (encoding = headers.get("grpc-encoding"));
        const response = await client.unaryCall(large({ responseCompressed: { value } }), { timeoutMs, onHeader });
        check((encoding === "gzip") === value, `grpc-encoding is ${encoding}`);
        cases.isLarge(response.payload);
      }
    },
    async server_compressed_streaming() {
      const asked = [
        [true, 31_415],
        [false, 92_653],
      ];
      const responseParameters = asked.map(([value, size]) => ({ size, compressed: { value } }));
      let encoding;
      const onHeader = (headers) => (encoding = headers.get("grpc-encoding"));
      cases.areSized(
        await all(client.streamingOutputCall({ responseParameters }, { timeoutMs, onHeader })),
        asked.map(([, size]) => size),
      );
      check(encoding === "gzip", `grpc-encoding is ${encoding}`);
    },
  };
  return { cases: known, close: () => sessions.forEach((session) => session.abort()) };
}

await cases.main(connect);
