/** Encodings: compression and encryption of payloads, outputs and checkpoints, between JSON and the wire. */

export { AesGcm } from "./aesGcm.js";
export type { Encoding } from "./encoding.js";
export { Encodings } from "./encodings.js";
export type { EncodingsOptions } from "./encodings.js";
export type { AskForKey, KeyTable } from "./keys.js";
export { Zstd } from "./zstd.js";
