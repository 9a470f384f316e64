package dev.jobqueue;

import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.function.Function;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.Mac;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * Encrypts and authenticates, by AES-256-GCM of the runtime.
 *
 * <p>Nonces are random; with an idempotency key they are made of it and of all that is encrypted, so that the same call
 * again has the same bytes. Either way a key is good for 2^32 messages: take another one before.
 */
public final class AesGcm implements Encoding {
    private static final int NONCE_BYTES = 12;
    private static final int TAG_BYTES = 16;
    private static final byte[] NONCE_KEY_OF = Place.utf8("jobqueue.encoded/1 nonce");
    private static final SecureRandom RANDOM = new SecureRandom();

    private final Keys keys;
    private final String primary;

    private AesGcm(Keys keys, String primary) {
        this.keys = keys;
        this.primary = primary;
    }

    /**
     * With the keys of a map.
     *
     * @param keys each key by its name, 32 bytes; it is looked into each time: one that changes is for many threads
     * @param primary the name of the key that encrypts; all of them decrypt
     * @throws KeyUnknown there is no such key
     * @throws IllegalArgumentException a key does not have 32 bytes, or the primary has no name
     */
    public static AesGcm of(Map<String, byte[]> keys, String primary) {
        if (primary.isEmpty()) {
            throw new IllegalArgumentException("primary is empty: it is the name of the key that encrypts");
        }
        var known = Keys.of(Objects.requireNonNull(keys, "keys"));
        if (!keys.containsKey(primary)) {
            throw new KeyUnknown(primary);
        }
        return new AesGcm(known, primary);
    }

    /**
     * With keys that a function answers, which may block: it is called in a thread of its own.
     *
     * <p>It is asked once by all that wait for the same key, again after five minutes, and after 15 seconds where it had
     * none; 256 answers are kept. What takes more than 30 s has failed. What it is asked for comes from who enqueued, and is 1 to 255 letters, digits and {@code
     * _.:/-}: look it up, and never build a path of it.
     *
     * @param ask answers a key of 32 bytes by its name; null: there is none
     * @param primary the name of the key that encrypts
     * @throws IllegalArgumentException the primary is no such name
     */
    public static AesGcm asking(Function<String, byte[]> ask, String primary) {
        Objects.requireNonNull(ask, "ask");
        var threads = Threads.perTask();
        return askingAsync(name -> CompletableFuture.supplyAsync(() -> ask.apply(name), threads), primary);
    }

    /** {@link #asking} of a function that answers a stage, and must not block. */
    public static AesGcm askingAsync(Function<String, CompletionStage<byte[]>> ask, String primary) {
        Objects.requireNonNull(ask, "ask");
        return of(Keys.asking(ask, System::nanoTime, Keys.ANSWERS), primary);
    }

    static AesGcm of(Keys asked, String primary) {
        if (!Keys.isName(primary)) {
            throw new IllegalArgumentException(
                    "primary is '%s'; it is 1 to 255 letters, digits and _ . : / -".formatted(primary));
        }
        return new AesGcm(asked, primary);
    }

    @Override
    public String name() {
        return "aes256gcm";
    }

    @Override
    public String keyId() {
        return primary;
    }

    @Override
    public CompletableFuture<byte[]> key(String keyId) {
        return keys.get(keyId);
    }

    /** The nonce, then the ciphertext with its tag. */
    @Override
    public byte[] encode(byte[] data, byte[] key, byte[] authenticated, String idempotencyKey) {
        byte[] nonce;
        if (idempotencyKey == null) {
            nonce = new byte[NONCE_BYTES];
            RANDOM.nextBytes(nonce);
        } else {
            nonce = keyedNonce(key, authenticated, idempotencyKey, data);
        }
        try {
            var cipher = cipher(Cipher.ENCRYPT_MODE, key, nonce, authenticated);
            var sealed =
                    ByteBuffer.allocate(NONCE_BYTES + data.length + TAG_BYTES).put(nonce);
            cipher.doFinal(ByteBuffer.wrap(data), sealed);
            return sealed.array();
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException("aes256gcm: the runtime can't encrypt", error);
        }
    }

    @Override
    public byte[] decode(byte[] data, byte[] key, byte[] authenticated) {
        if (data.length < NONCE_BYTES + TAG_BYTES) {
            throw new Undecodable("aes256gcm: it is cut off");
        }
        try {
            var cipher = cipher(Cipher.DECRYPT_MODE, key, Arrays.copyOf(data, NONCE_BYTES), authenticated);
            return cipher.doFinal(data, NONCE_BYTES, data.length - NONCE_BYTES);
        } catch (AEADBadTagException error) {
            throw new Undecodable("aes256gcm: it was changed, or encrypted for another kind, job or purpose, or with"
                    + " another key of this name");
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException("aes256gcm: the runtime can't decrypt", error);
        }
    }

    private static Cipher cipher(int mode, byte[] key, byte[] nonce, byte[] authenticated)
            throws GeneralSecurityException {
        var cipher = Cipher.getInstance("AES/GCM/NoPadding");
        cipher.init(mode, new SecretKeySpec(key, "AES"), new GCMParameterSpec(TAG_BYTES * Byte.SIZE, nonce));
        cipher.updateAAD(authenticated);
        return cipher;
    }

    /**
     * A nonce that is the same for the same, and another one as soon as anything differs that the cipher is given: two
     * messages with one nonce would give away the key of the tags, also if only what is authenticated differs.
     *
     * @param data the very bytes that go into the cipher
     */
    private static byte[] keyedNonce(byte[] key, byte[] authenticated, String idempotencyKey, byte[] data) {
        // HKDF-SHA256 (RFC 5869) without salt, one block.
        var drawn = hmac(new byte[32], key);
        var block = Arrays.copyOf(NONCE_KEY_OF, NONCE_KEY_OF.length + 1);
        block[NONCE_KEY_OF.length] = 1;
        var what = Place.framed(authenticated, Place.utf8(idempotencyKey), data);
        return Arrays.copyOf(hmac(hmac(drawn, block), what), NONCE_BYTES);
    }

    private static byte[] hmac(byte[] key, byte[] data) {
        try {
            var mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            return mac.doFinal(data);
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException("aes256gcm: the runtime has no HmacSHA256", error);
        }
    }

    /** Its name and that of its primary key. */
    @Override
    public String toString() {
        return "aes256gcm, key " + primary;
    }
}
