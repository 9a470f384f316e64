package dev.jobqueue;

import com.google.protobuf.ByteString;
import java.util.ArrayList;
import java.util.List;

/** Encodes, with one key: that which was the primary one when it was made. */
final class Sealer {
    private final List<Encoding> steps;
    private final byte[] key;
    private final boolean keyedCompression;

    Sealer(List<Encoding> steps, byte[] key, boolean keyedCompression) {
        this.steps = steps;
        this.key = key;
        this.keyedCompression = keyedCompression;
    }

    /**
     * The envelope of some data; the data itself, where no encoding has anything to do with it.
     *
     * @param idempotencyKey with it the same data becomes the same envelope; null: it need not
     * @throws IllegalArgumentException it looks like an envelope, and no encoding has anything to do with it: what reads it
     *     would take it for one of this side
     * @throws RuntimeException what an encoding throws: then nothing may be sent
     */
    ByteString sealed(ByteString given, Place place, String idempotencyKey) {
        var data = given.toByteArray();
        var names = new ArrayList<String>(steps.size());
        var keyId = "";
        for (var step : steps) {
            var encrypts = !step.keyId().isEmpty();
            if (idempotencyKey != null && !encrypts && !keyedCompression) {
                continue;
            }
            names.add(step.name());
            // The one that encrypts is the last, so these are all the names of the envelope.
            var authenticated = encrypts ? place.authenticated(names, step.keyId()) : new byte[0];
            var done = step.encode(data, key, authenticated, idempotencyKey);
            if (done != null) {
                data = done;
                keyId = step.keyId();
                continue;
            }
            names.remove(names.size() - 1);
            if (encrypts) {
                throw new IllegalStateException(
                        "the encoding %s has left something unencrypted".formatted(step.name()));
            }
        }
        if (!names.isEmpty()) {
            return new Envelope(List.copyOf(names), keyId, data, place.contentType()).text();
        }
        if (Envelope.looksLikeOne(given, place)) {
            // It may be a stranger's, who has put into it what was never checked.
            throw new IllegalArgumentException(
                    "the %s looks like an envelope, and nothing here encodes it".formatted(place.purpose()));
        }
        return given;
    }
}
