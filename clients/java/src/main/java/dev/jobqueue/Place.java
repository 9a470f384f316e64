package dev.jobqueue;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * Where something encoded belongs.
 *
 * @param purpose what it is: payload, output or checkpoint
 * @param kind the job's kind
 * @param jobId the job's id; empty for payloads, whose id is not known when they are encoded
 * @param contentType of what was encoded
 */
record Place(String purpose, String kind, String jobId, String contentType) {
    // The first of what is authenticated: another form of it gets another name.
    private static final String DOMAIN = "jobqueue.encoded/1";
    private static final String JSON = "application/json";

    static Place payload(String kind) {
        return new Place("payload", kind, "", JSON);
    }

    static Place output(String kind, String jobId) {
        return new Place("output", kind, jobId, JSON);
    }

    static Place checkpoint(String kind, String jobId) {
        return new Place("checkpoint", kind, jobId, "application/octet-stream");
    }

    /** Whether it is of bytes that may be anything. */
    boolean isCheckpoint() {
        return purpose.equals("checkpoint");
    }

    /** All that an envelope is bound to, as bytes: no two places have the same. */
    byte[] authenticated(List<String> encodings, String keyId) {
        var parts = new byte[6 + encodings.size()][];
        var at = 0;
        for (var each : new String[] {DOMAIN, purpose, kind, jobId, contentType, keyId}) {
            parts[at++] = utf8(each);
        }
        for (var each : encodings) {
            parts[at++] = utf8(each);
        }
        return framed(parts);
    }

    /** The parts, each with its length before it (4 bytes, big-endian). */
    static byte[] framed(byte[]... parts) {
        var all = new ByteArrayOutputStream();
        for (var each : parts) {
            all.writeBytes(
                    ByteBuffer.allocate(Integer.BYTES).putInt(each.length).array());
            all.writeBytes(each);
        }
        return all.toByteArray();
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
