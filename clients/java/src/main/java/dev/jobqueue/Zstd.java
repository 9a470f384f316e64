package dev.jobqueue;

/**
 * Compresses what is long enough, by Zstandard. It needs {@code com.github.luben:zstd-jni} among the program's own
 * dependencies.
 *
 * <p>What others may choose a part of should not be compressed and then encrypted: its length tells of the rest.
 */
public final class Zstd implements Encoding {
    private static final int MOST = 4 * 1024 * 1024;

    private final int over;
    private final int level;
    private final int most;

    /**
     * One that leaves up to 2048 bytes as they are, of level 3, for up to 4 MiB.
     *
     * @throws IllegalStateException zstd-jni is not on the class path, or has no library for this machine
     */
    public Zstd() {
        this(2048, 3, MOST);
        try {
            ZstdJni.check();
        } catch (LinkageError error) {
            throw new IllegalStateException("Zstd needs com.github.luben:zstd-jni on the class path", error);
        }
    }

    private Zstd(int over, int level, int most) {
        this.over = over;
        this.level = level;
        this.most = most;
    }

    /** The same that leaves so many bytes, and fewer, as they are. */
    public Zstd over(int bytes) {
        check(bytes >= 0, "over is " + bytes + "; it is 0 or more bytes");
        return new Zstd(bytes, level, most);
    }

    /** The same with a level of 1 (fast) to 19 (small). */
    public Zstd level(int level) {
        check(level >= 1 && level <= 19, "level is " + level + "; it is 1 to 19");
        return new Zstd(over, level, most);
    }

    /** The same for up to so many bytes before compression. More is refused on both sides. */
    public Zstd most(int bytes) {
        check(bytes >= 1, "most is " + bytes + "; it is 1 or more bytes");
        return new Zstd(over, level, bytes);
    }

    private static void check(boolean right, String otherwise) {
        if (!right) {
            throw new IllegalArgumentException(otherwise);
        }
    }

    @Override
    public String name() {
        return "zstd";
    }

    /**
     * What does not become shorter is left as it is.
     *
     * @throws IllegalArgumentException it is longer than {@link #most} takes
     */
    @Override
    public byte[] encode(byte[] data, byte[] key, byte[] authenticated, String idempotencyKey) {
        if (data.length > most) {
            throw new IllegalArgumentException(
                    "%d bytes are more than Zstd.most(%d) takes".formatted(data.length, most));
        }
        if (data.length <= over) {
            return null;
        }
        var packed = ZstdJni.compress(data, level);
        return packed.length < data.length ? packed : null;
    }

    /** Of one frame, which says how long its content is. */
    @Override
    public byte[] decode(byte[] data, byte[] key, byte[] authenticated) {
        return ZstdJni.decompress(data, most);
    }
}
