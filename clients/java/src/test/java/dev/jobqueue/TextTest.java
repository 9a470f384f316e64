package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import org.junit.jupiter.api.Test;

class TextTest {
    @Test
    void jsonKeepsItsBytesAndRefusesHalfOfAPair() {
        var text = "{ \"a\" : \"\\ud83d é 😀\" }";
        assertEquals(text, Json.of(text).text());
        assertArrayEquals(text.getBytes(StandardCharsets.UTF_8), Json.of(text).bytes());
        assertEquals(Json.of(text), Json.of(text.getBytes(StandardCharsets.UTF_8)));
        assertThrows(IllegalArgumentException.class, () -> Json.of("\"\ud83d\""));
    }

    @Test
    void aLongTextIsCutBetweenCharactersAndSaysSo() {
        var text = "é😀".repeat(2000); // 6 bytes each
        var cut = Text.cutAndSay(text, 8192);
        assertTrue(cut.endsWith(" [cut, 12000 bytes in all]"), cut);
        assertTrue(cut.getBytes(StandardCharsets.UTF_8).length <= 8192);
        assertTrue(text.startsWith(cut.substring(0, cut.indexOf(" [cut"))));
        assertEquals("é", Text.cut("é😀", 3));
        assertEquals("short", Text.cutAndSay("short", 8192));
    }

    @Test
    void spansAndTimesComeBackAsTheyWere() {
        for (var span : new Duration[] {
            Duration.ZERO, Duration.ofMillis(1500), Duration.ofMillis(-1500), Duration.ofDays(400), Duration.ofNanos(-1)
        }) {
            assertEquals(span, Times.of(Times.message(span)));
        }
        var negative = Times.message(Duration.ofMillis(-1500));
        assertEquals(-1, negative.getSeconds());
        assertEquals(-500_000_000, negative.getNanos());
        var moment = Instant.parse("2026-01-02T03:04:05.678901Z");
        assertEquals(moment, Times.of(Times.message(moment)));
    }

    @Test
    void waitsGrowFromTheBaseToTheCapAndDiffer() {
        var waits = new Backoff(Duration.ofMillis(100), Duration.ofSeconds(5));
        var first = waits.next();
        assertTrue(first >= 100_000_000 && first <= 300_000_000, "" + first);
        for (var i = 0; i < 100; i++) {
            var wait = waits.next();
            assertTrue(wait >= 100_000_000 && wait <= 5_000_000_000L, "" + wait);
        }
        waits.reset();
        assertTrue(waits.next() <= 300_000_000);
    }
}
