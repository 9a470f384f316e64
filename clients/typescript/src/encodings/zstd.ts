/** Compression by Zstandard. */

import * as zlib from "node:zlib";

import { Undecodable } from "../encoded.js";
import type { Encoding } from "./encoding.js";

const MAGIC = 0xfd2fb528;
const CHUNK_BYTES = 64 * 1024;

/** What Node has of it from 22.15 on, and its types of before don't say. */
interface Library {
  readonly zstdCompressSync: (data: Uint8Array, options: object) => Uint8Array;
  readonly zstdDecompressSync: (data: Uint8Array, options: object) => Uint8Array;
  readonly constants: { readonly ZSTD_c_compressionLevel: number };
}

/**
 * Compresses what is long enough. It needs Node 22.15 or later.
 *
 * What others may choose a part of should not be compressed and then encrypted: its length tells of the rest.
 */
export class Zstd implements Encoding {
  readonly name = "zstd";
  readonly #over: number;
  readonly #level: number;
  readonly #most: number;
  readonly #library: Library;

  /**
   * @param options `over`: what has as many bytes or fewer is left as it is, default 2048. `level`: 1 (fast) to 19 (small),
   *     default 3. `most`: the most bytes that something may have decompressed, default 4 MiB; more is refused on both
   *     sides.
   * @throws Error This Node has no Zstandard.
   * @throws RangeError A number is out of its range.
   */
  constructor(options: { readonly over?: number; readonly level?: number; readonly most?: number } = {}) {
    const { over = 2048, level = 3, most = 4 * 1024 * 1024 } = options;
    if (!Number.isInteger(over) || over < 0) throw new RangeError(`over is ${over}; it is 0 or more bytes`);
    if (!Number.isInteger(level) || level < 1 || level > 19) {
      throw new RangeError(`level is ${level}; it is 1 to 19`);
    }
    if (!Number.isInteger(most) || most < 1) throw new RangeError(`most is ${most}; it is 1 or more bytes`);
    this.#over = over;
    this.#level = level;
    this.#most = most;
    this.#library = library();
  }

  /**
   * As `Encoding.encode`. What does not become shorter is left as it is.
   *
   * @throws RangeError It is longer than `most`.
   */
  encode(data: Uint8Array): Uint8Array | undefined {
    if (data.length > this.#most) {
      throw new RangeError(`${data.length} bytes are more than Zstd with most ${this.#most} takes`);
    }
    if (data.length <= this.#over) return undefined;
    const { zstdCompressSync, constants } = this.#library;
    // In one piece, so that the frame says how long its content is.
    const params = { [constants.ZSTD_c_compressionLevel]: this.#level };
    const packed = zstdCompressSync(data, { params });
    return packed.length < data.length ? packed : undefined;
  }

  /** As `Encoding.decode`: one frame, which says how long its content is. */
  decode(data: Uint8Array): Uint8Array {
    const size = contentOf(data);
    if (size === undefined || size === 0 || size > this.#most) {
      throw new Undecodable(
        `zstd: the content's length must be said, be above 0 and at most ${this.#most}, of one whole frame alone`,
      );
    }
    let found: Uint8Array;
    try {
      // It stops at that length: 4 kB can say 1 MiB and have blocks for 125 MiB.
      const chunkSize = Math.max(64, Math.min(size, CHUNK_BYTES));
      found = this.#library.zstdDecompressSync(data, { maxOutputLength: size, chunkSize });
    } catch (error) {
      throw new Undecodable(`zstd: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (found.length !== size) throw new Undecodable("zstd: it is no whole frame alone");
    return found;
  }
}

/**
 * How long the content of a frame is, as it says. Undefined: it does not say it, or these bytes are not one whole frame and
 * nothing else. Node's function takes what is cut off, and what has something behind it, without a word.
 */
function contentOf(data: Uint8Array): number | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  try {
    if (view.getUint32(0, true) !== MAGIC) return undefined;
    const descriptor = view.getUint8(4);
    const single = (descriptor >> 5) & 1;
    let at = 6 - single + [0, 1, 2, 4][descriptor & 3]!;
    const width = [single, 2, 4, 8][descriptor >> 6]!;
    if (width === 0) return undefined;
    const size =
      width === 1
        ? view.getUint8(at)
        : width === 2
          ? view.getUint16(at, true) + 256
          : width === 4
            ? view.getUint32(at, true)
            : Number(view.getBigUint64(at, true));
    at += width;
    for (let last = 0; last === 0;) {
      const head = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
      last = head & 1;
      // A block of one byte that is repeated has that byte alone.
      at += 3 + (((head >> 1) & 3) === 1 ? 1 : head >> 3);
    }
    const checksum = (descriptor >> 2) & 1 ? 4 : 0;
    return at + checksum === data.length ? size : undefined;
  } catch (error) {
    if (error instanceof RangeError) return undefined; // it ends before
    throw error;
  }
}

function library(): Library {
  const found = zlib as unknown as Library;
  if (typeof found.zstdCompressSync === "function") return found;
  throw new Error(`Zstd needs Node 22.15 or later; this is ${process.version}`);
}
