package dev.jobqueue;

import com.github.luben.zstd.Zstd;
import java.util.Arrays;

/** The library zstd-jni. Loaded where it is used. */
final class ZstdJni {
    private static final byte[] MAGIC = {0x28, (byte) 0xb5, 0x2f, (byte) 0xfd};
    /** With the magic, two bytes of a header and the head of a block. */
    private static final int SHORTEST = 9;

    private static final int[] DICTIONARY_BYTES = {0, 1, 2, 4};
    private static final int[] LENGTH_BYTES = {0, 2, 4, 8};

    private ZstdJni() {}

    /** Loads it, and what it has in another language. */
    static void check() {
        Zstd.maxCompressionLevel();
    }

    static byte[] compress(byte[] data, int level) {
        return Zstd.compress(data, level);
    }

    /**
     * The content of a frame, of at most so many bytes. It has a buffer of the length that the frame says, and no more: piece
     * by piece 1 MiB can go on for gigabytes.
     *
     * @throws Undecodable it is no whole frame alone, does not say how long its content is, or says too much
     */
    static byte[] decompress(byte[] data, int most) {
        try {
            // The library reads frames of its older forms too, which have another header.
            if (data.length < SHORTEST || !Arrays.equals(data, 0, MAGIC.length, MAGIC, 0, MAGIC.length)) {
                throw new Undecodable("zstd: it is no frame");
            }
            var size = Zstd.getFrameContentSize(data);
            if (size <= 0 || size > most) {
                throw new Undecodable(
                        "zstd: the content's length must be said, be above 0 and at most %d".formatted(most));
            }
            // Several frames, one behind the other, would be decompressed as one.
            if (frameBytes(data) != data.length) {
                throw new Undecodable("zstd: it is no whole frame alone");
            }
            var content = new byte[(int) size];
            var found = Zstd.decompress(content, data);
            if (found != size) {
                throw new Undecodable("zstd: its content is not as long as it says");
            }
            return content;
        } catch (Undecodable error) {
            throw error;
        } catch (RuntimeException error) {
            throw new Undecodable("zstd: " + error.getMessage());
        }
    }

    /**
     * How many bytes the first frame has, by RFC 8878, of one that has a header; or more than there are. Older versions of
     * the library do not tell.
     */
    private static long frameBytes(byte[] data) {
        var descriptor = data[4];
        var single = (descriptor & 0x20) != 0;
        var at = 5 + (single ? 0 : 1) + DICTIONARY_BYTES[descriptor & 3] + LENGTH_BYTES[(descriptor & 0xc0) >> 6];
        if (single && (descriptor & 0xc0) == 0) {
            at++;
        }
        while (at + 3L <= data.length) {
            var head = data[at] & 0xff | (data[at + 1] & 0xff) << 8 | (data[at + 2] & 0xff) << 16;
            // A block that is one byte, as often as its size says.
            at += 3 + ((head & 6) == 2 ? 1 : head >> 3);
            if ((head & 1) != 0) {
                return at + ((descriptor & 4) != 0 ? 4 : 0); // with its checksum
            }
        }
        return Long.MAX_VALUE;
    }
}
