package dev.jobqueue;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/**
 * Bytes to bytes and back: one step of {@link Encodings}. Implement it for one of your own; it must be safe in threads.
 *
 * <p>What {@link #encode} throws fails the enqueue, or the attempt; nothing is sent.
 */
public interface Encoding {
    /** What envelopes call it. Another form of its bytes is another name. */
    String name();

    /** The name of the key with which it encrypts. Empty, as here: it does not encrypt. */
    default String keyId() {
        return "";
    }

    /** A key by its name, of one that encrypts. The stage fails with {@link KeyUnknown} if nothing has it. */
    default CompletionStage<byte[]> key(String keyId) {
        return CompletableFuture.completedFuture(new byte[0]);
    }

    /**
     * Encodes. Null: it leaves these bytes as they are.
     *
     * @param data the bytes, which stay as they are
     * @param key that of {@link #keyId}
     * @param authenticated what the result is bound to
     * @param idempotencyKey with it the same bytes must become the same bytes; null: they need not
     */
    byte[] encode(byte[] data, byte[] key, byte[] authenticated, String idempotencyKey);

    /**
     * The bytes that were encoded.
     *
     * @throws Undecodable they are damaged, or bound to something else
     */
    byte[] decode(byte[] data, byte[] key, byte[] authenticated);
}
