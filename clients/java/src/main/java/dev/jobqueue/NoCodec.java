package dev.jobqueue;

import java.lang.reflect.Type;

/** Stands where no codec was given: says what to do. */
final class NoCodec implements Codec {
    static final Codec INSTANCE = new NoCodec();

    private NoCodec() {}

    @Override
    public byte[] write(Object value) {
        throw new Unwritable(
                "a %s can't be written as JSON without a codec: give a Json, or make the client or worker with one"
                        .formatted(value.getClass().getName()));
    }

    @Override
    public <T> T read(byte[] json, Type type) {
        throw new IllegalStateException(
                "JSON can't be read as a %s without a codec: read the Json, or make the client or worker with one"
                        .formatted(type.getTypeName()));
    }
}
