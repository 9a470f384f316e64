// What both clients in Node ask for and look at, and the frame that they run in.

import { parseArgs } from "node:util";

export const REQUEST_SIZE = 271_828;
export const RESPONSE_SIZE = 314_159;
export const REQUEST_SIZES = [27_182, 8, 1_828, 45_904];
export const RESPONSE_SIZES = [31_415, 9, 2_653, 58_979];
export const SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
export const STATUS = { code: 2, message: "test status message" };
export const INITIAL = ["x-grpc-test-echo-initial", "test_initial_metadata_value"];
export const TRAILING = ["x-grpc-test-echo-trailing-bin", Buffer.from([0xab, 0xab, 0xab])];
export const SOAK = 20;
export const SECONDS = 20;

export function check(holds, said) {
  if (!holds) throw new Error(said);
}

/** The call failed with this code, and this message where one is given. */
export async function fails(call, code, text) {
  let answer;
  try {
    answer = await call;
  } catch (error) {
    check(error.code === code, `the call ended with ${error.code} (${error.message}), not ${code}`);
    const said = error.details instanceof Array ? error.rawMessage : error.details;
    check(text === undefined || said === text, `the message is ${JSON.stringify(said)}`);
    return;
  }
  throw new Error(`the call succeeded instead of ending with ${code}: ${answer}`);
}

export function isLarge(payload) {
  const body = payload?.body ?? new Uint8Array();
  check(body.length === RESPONSE_SIZE, `the payload has ${body.length} bytes, not ${RESPONSE_SIZE}`);
  check(
    body.every((byte) => byte === 0),
    "the payload is not all zeros",
  );
}

export function areSized(responses, sizes) {
  const came = responses.map((response) => response.payload.body.length);
  check(JSON.stringify(came) === JSON.stringify(sizes), `answers of ${came} bytes came, not of ${sizes}`);
}

/** Runs the case that the command line names; `connect` makes a client: `{cases: {name: function}, close()}`. */
export async function main(connect) {
  const { values } = parseArgs({
    options: {
      server_host: { type: "string", default: "127.0.0.1" },
      server_port: { type: "string" },
      test_case: { type: "string" },
      use_tls: { type: "string", default: "false" },
      ca_file: { type: "string" },
      descriptors: { type: "string" },
    },
  });
  const options = { ...values, tls: values.use_tls === "true" };
  const name = values.test_case;
  try {
    const soak = name === "rpc_soak" || name === "channel_soak";
    const one = soak ? "large_unary" : name;
    let client = await connect(options);
    if (!(one in client.cases)) throw new Error(`there is no case ${name}`);
    for (let left = soak ? SOAK : 1; left > 0; left--) {
      await client.cases[one]();
      if (name === "channel_soak") {
        client.close();
        client = await connect(options);
      }
    }
    client.close();
  } catch (error) {
    console.error(`${name}: ${error.stack}`);
    process.exit(1);
  }
}
