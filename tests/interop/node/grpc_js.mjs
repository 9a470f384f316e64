// The named interop cases of gRPC by @grpc/grpc-js, one a run:
// node grpc_js.mjs --server_host=HOST --server_port=PORT --test_case=CASE --use_tls=BOOL --ca_file=PEM

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

import * as cases from "./cases.mjs";
import { check, fails } from "./cases.mjs";

const proto = fileURLToPath(new URL("../testing.proto", import.meta.url));
const { TestService, UnimplementedService } = grpc.loadPackageDefinition(loadSync(proto, { keepCase: true })).grpc
  .testing;
const { status } = grpc;
const GZIP = { "grpc.default_compression_algorithm": 2 };

const payload = (size) => ({ body: Buffer.alloc(size) });
const large = (more = {}) => ({ response_size: cases.RESPONSE_SIZE, payload: payload(cases.REQUEST_SIZE), ...more });
const asks = (size, answer) => ({ response_parameters: [{ size: answer }], payload: payload(size) });
const within = () => ({ deadline: Date.now() + cases.SECONDS * 1000 });

/** The answer of a unary call, with its metadata. */
function unary(client, method, request, metadata = new grpc.Metadata()) {
  return new Promise((resolve, reject) => {
    const found = {};
    const call = client[method](request, metadata, within(), (error, response) => {
      if (error) reject(error);
      else call.on("status", (status) => resolve({ ...found, response, trailing: status.metadata }));
    });
    call.on("metadata", (initial) => (found.initial = initial));
  });
}

/** All answers of a stream. */
async function all(call) {
  const responses = [];
  for await (const response of call) responses.push(response);
  return responses;
}

/** The next answer of a stream, where one has been asked for. */
async function next(call) {
  const [response] = await once(call, "data");
  return response;
}

function connect(options, settings = {}) {
  const address = `${options.server_host}:${options.server_port}`;
  const credentials = options.tls
    ? grpc.credentials.createSsl(readFileSync(options.ca_file))
    : grpc.credentials.createInsecure();
  // A connection of its own.
  const own = { "grpc.use_local_subchannel_pool": 1 };
  const client = new TestService(address, credentials, { ...own, ...settings });
  const other = new UnimplementedService(address, credentials, own);

  const known = {
    async empty_unary() {
      await unary(client, "EmptyCall", {});
    },
    async large_unary() {
      const { response } = await unary(client, "UnaryCall", large());
      cases.isLarge(response.payload);
    },
    async client_streaming() {
      const total = await new Promise((resolve, reject) => {
        const call = client.StreamingInputCall(within(), (error, response) =>
          error ? reject(error) : resolve(response),
        );
        for (const size of cases.REQUEST_SIZES) call.write({ payload: payload(size) });
        call.end();
      });
      check(total.aggregated_payload_size === 74_922, `the total is ${total.aggregated_payload_size}`);
    },
    async server_streaming() {
      const request = { response_parameters: cases.RESPONSE_SIZES.map((size) => ({ size })) };
      cases.areSized(await all(client.StreamingOutputCall(request, within())), cases.RESPONSE_SIZES);
    },
    async ping_pong() {
      const call = client.FullDuplexCall(within());
      const ended = once(call, "status");
      for (const [index, size] of cases.REQUEST_SIZES.entries()) {
        call.write(asks(size, cases.RESPONSE_SIZES[index]));
        cases.areSized([await next(call)], [cases.RESPONSE_SIZES[index]]);
      }
      call.on("data", () => call.destroy(new Error("there is an answer too many")));
      call.end();
      const [{ code }] = await ended;
      check(code === status.OK, `the call ended with ${code}`);
    },
    async empty_stream() {
      const call = client.FullDuplexCall(within());
      call.end();
      cases.areSized(await all(call), []);
    },
    async custom_metadata() {
      const metadata = new grpc.Metadata();
      metadata.set(...cases.INITIAL);
      metadata.set(...cases.TRAILING);
      const one = await unary(client, "UnaryCall", large(), metadata);
      const call = client.FullDuplexCall(metadata, within());
      const [initial, trailing] = [once(call, "metadata"), once(call, "status")];
      call.end(asks(cases.REQUEST_SIZE, cases.RESPONSE_SIZE));
      cases.areSized(await all(call), [cases.RESPONSE_SIZE]);
      const streamed = { initial: (await initial)[0], trailing: (await trailing)[0].metadata };
      for (const { initial, trailing } of [one, streamed]) {
        check(initial.get(cases.INITIAL[0])[0] === cases.INITIAL[1], `the initial metadata is ${initial}`);
        check(cases.TRAILING[1].equals(trailing.get(cases.TRAILING[0])[0]), `the trailing metadata is ${trailing}`);
      }
    },
    async status_code_and_message() {
      const request = { response_status: cases.STATUS };
      await fails(unary(client, "UnaryCall", request), status.UNKNOWN, cases.STATUS.message);
      const call = client.FullDuplexCall(within());
      call.end(request);
      await fails(all(call), status.UNKNOWN, cases.STATUS.message);
    },
    async special_status_message() {
      const request = { response_status: { code: status.UNKNOWN, message: cases.SPECIAL } };
      await fails(unary(client, "UnaryCall", request), status.UNKNOWN, cases.SPECIAL);
    },
    async unimplemented_method() {
      await fails(unary(client, "UnimplementedCall", {}), status.UNIMPLEMENTED);
    },
    async unimplemented_service() {
      await fails(unary(other, "UnimplementedCall", {}), status.UNIMPLEMENTED);
    },
    async cancel_after_begin() {
      const ended = new Promise((resolve, reject) => {
        const call = client.StreamingInputCall(within(), (error, response) =>
          error ? reject(error) : resolve(response),
        );
        call.cancel();
      });
      await fails(ended, status.CANCELLED);
    },
    async cancel_after_first_response() {
      const call = client.FullDuplexCall(within());
      call.write(asks(cases.REQUEST_SIZES[0], cases.RESPONSE_SIZES[0]));
      await next(call);
      call.cancel();
      await fails(all(call), status.CANCELLED);
    },
    async timeout_on_sleeping_server() {
      const call = client.FullDuplexCall({ deadline: Date.now() + 1 });
      call.write({ payload: payload(cases.REQUEST_SIZES[0]) });
      await fails(all(call), status.DEADLINE_EXCEEDED);
    },
    async client_compressed_unary() {
      const ask = (who, value) => unary(who, "UnaryCall", large({ expect_compressed: { value } }));
      const gzip = new TestService(address, credentials, { ...own, ...GZIP });
      await fails(ask(client, true), status.INVALID_ARGUMENT);
      cases.isLarge((await ask(gzip, true)).response.payload);
      cases.isLarge((await ask(client, false)).response.payload);
      gzip.close();
    },
    async server_compressed_unary() {
      for (const value of [true, false]) {
        const { response } = await unary(client, "UnaryCall", large({ response_compressed: { value } }));
        cases.isLarge(response.payload);
      }
    },
    async server_compressed_streaming() {
      const asked = [
        [true, 31_415],
        [false, 92_653],
      ];
      const response_parameters = asked.map(([value, size]) => ({ size, compressed: { value } }));
      cases.areSized(
        await all(client.StreamingOutputCall({ response_parameters }, within())),
        asked.map(([, size]) => size),
      );
    },
  };
  const close = () => {
    client.close();
    other.close();
  };
  return { cases: known, close };
}

await cases.main(connect);
