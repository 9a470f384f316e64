package dev.jobqueue;

import com.google.protobuf.ByteString;
import java.util.Base64;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;

/**
 * The JSON object that stands for something encoded.
 *
 * @param encodings by what, in the order in which it was done
 * @param keyId the name of the key; empty: it is not encrypted
 * @param data the bytes
 * @param contentType of what was encoded
 */
record Envelope(List<String> encodings, String keyId, byte[] data, String contentType) {
    /** The member by which it is known; its value is the version of its form. */
    static final String MARK = "$jobqueue.encoded";
    /** So does each begin that is written here; of a checkpoint, whose bytes may be anything, all do. */
    private static final ByteString PREFIX = ByteString.copyFromUtf8("{\"" + MARK + "\":1,");

    /** The members of the envelope that something is; null: it is none. */
    static Map<String, Object> in(ByteString text, Place place) {
        if (!place.isCheckpoint()) {
            return EnvelopeReader.read(text);
        }
        if (!text.startsWith(PREFIX)) {
            return null;
        }
        var members = EnvelopeReader.read(text);
        if (members == null) {
            throw new Undecodable("the envelope of the checkpoint is cut off");
        }
        return members;
    }

    /** Whether something would be taken for one where it is read. */
    static boolean looksLikeOne(ByteString text, Place place) {
        return place.isCheckpoint() ? text.startsWith(PREFIX) : EnvelopeReader.read(text) != null;
    }

    /** What stands for a value that was not decoded; null: it is no envelope. */
    static Encoded encoded(ByteString text, String why) {
        var members = EnvelopeReader.read(text);
        return members == null ? null : Encoded.of(members, why);
    }

    /**
     * The one that has these members.
     *
     * @throws Undecodable it is malformed, or of a later form
     */
    static Envelope of(Map<String, Object> members) {
        if (!(members.get(MARK) instanceof Double form) || form != 1) {
            throw new Undecodable("the envelope's %s must be 1".formatted(MARK));
        }
        if (!(members.get("encodings") instanceof List<?> list)
                || list.isEmpty()
                || !list.stream().allMatch(String.class::isInstance)) {
            throw new Undecodable("the envelope's encodings must be a list of names");
        }
        var names = list.stream().map(String.class::cast).toList();
        if (new HashSet<>(names).size() != names.size()) {
            throw new Undecodable("the envelope's encodings must be different ones");
        }
        if (!(members.getOrDefault("key_id", "") instanceof String keyId)
                || !(members.get("data") instanceof String data)
                || !(members.get("content_type") instanceof String contentType)) {
            throw new Undecodable("the envelope's content_type, key_id and data must be texts");
        }
        try {
            if (data.indexOf('=') >= 0) {
                throw new IllegalArgumentException();
            }
            return new Envelope(names, keyId, Base64.getUrlDecoder().decode(data), contentType);
        } catch (IllegalArgumentException error) {
            throw new Undecodable("the envelope's data must be base64url, without =");
        }
    }

    /** As JSON text. */
    ByteString text() {
        var names = new StringJoiner(",", "[", "]");
        encodings.forEach(each -> names.add(quoted(each)));
        var told = "{\"" + MARK + "\":1,\"content_type\":" + quoted(contentType) + ",\"encodings\":" + names
                + (keyId.isEmpty() ? "" : ",\"key_id\":" + quoted(keyId)) + ",\"data\":\""
                + Base64.getUrlEncoder().withoutPadding().encodeToString(data) + "\"}";
        return Json.of(told).raw();
    }

    private static String quoted(String text) {
        var quoted = new StringBuilder("\"");
        for (var at = 0; at < text.length(); at++) {
            var each = text.charAt(at);
            var letter = "\"\\\b\f\n\r\t".indexOf(each);
            if (letter >= 0) {
                quoted.append('\\').append("\"\\bfnrt".charAt(letter));
            } else if (each < ' ') {
                quoted.append("\\u%04x".formatted((int) each));
            } else {
                quoted.append(each);
            }
        }
        return quoted.append('"').toString();
    }
}
