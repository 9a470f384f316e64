package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** The envelopes that clients of all languages read and write, as tests/clients/encodings.json has them. */
class EncodingVectorsTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final JsonNode FILE = file();
    private static final Map<String, Class<? extends Exception>> ERRORS = Map.of(
            "Undecodable", Undecodable.class, "KeyUnknown", KeyUnknown.class, "EncodingUnknown", EncodingUnknown.class);

    private static JsonNode file() {
        try {
            return JSON.readTree(Path.of("../../tests/clients/encodings.json").toFile());
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    private static Encodings encodings(String primary) {
        var keys = new HashMap<String, byte[]>();
        FILE.get("keys")
                .properties()
                .forEach(each -> keys.put(
                        each.getKey(), HexFormat.of().parseHex(each.getValue().asText())));
        return Encodings.of(new Zstd(), AesGcm.of(keys, primary));
    }

    private static Stream<JsonNode> rows() {
        return StreamSupport.stream(FILE.get("rows").spliterator(), false);
    }

    private static ByteString content(JsonNode row) {
        return ByteString.copyFrom(
                Base64.getUrlDecoder().decode(row.get("content").asText()));
    }

    private static Place place(JsonNode row) {
        return new Place(
                row.get("purpose").asText(),
                row.get("kind").asText(),
                row.get("job_id").asText(),
                row.get("content_type").asText());
    }

    private static DynamicTest test(JsonNode row, org.junit.jupiter.api.function.Executable what) {
        return DynamicTest.dynamicTest(row.get("name").asText(), what);
    }

    @Test
    void thereAreAtLeastFortyRows() {
        assertTrue(rows().count() >= 40);
    }

    @TestFactory
    Stream<DynamicTest> anEnvelopeIsReadAsItsRowSays() {
        return rows().map(row -> test(row, () -> {
            var text = ByteString.copyFromUtf8(row.get("envelope").asText());
            var reading = encodings("2026-10")
                    .opened(text, place(row), row.get("required").asBoolean());
            if (row.get("error").isNull()) {
                assertEquals(content(row), reading.get());
            } else {
                var error = assertThrows(ExecutionException.class, reading::get).getCause();
                assertEquals(ERRORS.get(row.get("error").asText()), error.getClass(), error.toString());
            }
        }));
    }

    @TestFactory
    Stream<DynamicTest> anEnvelopeIsWrittenByteForByte() {
        return rows().filter(row -> row.get("write").asBoolean())
                .map(row -> test(row, () -> {
                    var sealer = encodings(row.get("key_id").asText()).sealer().get();
                    var made = sealer.sealed(
                            content(row), place(row), row.get("idempotency_key").asText());
                    assertEquals(row.get("envelope").asText(), made.toStringUtf8());
                }));
    }

    @TestFactory
    Stream<DynamicTest> whatARowHoldsIsWrittenAndReadAgain() {
        return rows().filter(row -> row.get("error").isNull())
                .map(row -> test(row, () -> {
                    var encodings = encodings("2026-10");
                    var made = encodings.sealer().get().sealed(content(row), place(row), null);
                    List<String> names = new ArrayList<>();
                    if (content(row).size() > 2048) {
                        names.add("zstd");
                    }
                    names.add("aes256gcm");
                    assertEquals(
                            JSON.valueToTree(names),
                            JSON.readTree(made.toByteArray()).get("encodings"));
                    assertEquals(
                            content(row),
                            encodings.opened(made, place(row), false).get());
                }));
    }
}
