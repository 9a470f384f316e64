package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.Test;

class CodecsTest {
    enum Size {
        SMALL,
        LARGE
    }

    record Box(@JsonProperty(required = true) Size size, boolean open, double weight, UUID id, List<Box> inner) {}

    private static final Codec CODEC = Codecs.jackson();

    private static Object read(String json, Class<?> type) throws Exception {
        return CODEC.read(json.getBytes(StandardCharsets.UTF_8), type);
    }

    private static String mismatch(String json) {
        return assertThrows(Codec.Mismatch.class, () -> read(json, Box.class)).getMessage();
    }

    @Test
    void whatIsNotKnownIsPassedOver() throws Exception {
        var box = read("{\"size\":\"LARGE\",\"open\":true,\"weight\":2,\"later\":{\"a\":[1]}}", Box.class);
        assertEquals(new Box(Size.LARGE, true, 2, null, null), box);
    }

    @Test
    void aMismatchNamesThePlaceAndWhatWouldBeRight() {
        assertEquals(".size must be there", mismatch("{\"open\":true,\"weight\":2}"));
        assertEquals(".size must be one of [SMALL, LARGE]", mismatch("{\"size\":\"HUGE\",\"open\":true,\"weight\":2}"));
        assertEquals(".open must be true or false", mismatch("{\"size\":\"SMALL\",\"open\":1,\"weight\":2}"));
        assertEquals(".open must be true or false", mismatch("{\"size\":\"SMALL\",\"open\":\"true\",\"weight\":2}"));
        assertEquals(".weight must be a number", mismatch("{\"size\":\"SMALL\",\"open\":true,\"weight\":\"2\"}"));
        assertEquals(".id must be a UUID", mismatch("{\"size\":\"SMALL\",\"open\":true,\"weight\":2,\"id\":\"x\"}"));
        assertEquals(
                ".inner[1].open must be true or false",
                mismatch("{\"size\":\"SMALL\",\"open\":true,\"weight\":2,\"inner\":[null,{\"size\":\"SMALL\"}]}"));
        assertEquals("it must be an object", mismatch("7"));
        assertEquals("it must be JSON", mismatch("{"));
    }

    @Test
    void aMapperOfTheProgramsOwnIsUsedAsItIs() {
        var own = Codecs.jackson(new ObjectMapper());
        var error = assertThrows(
                Codec.Mismatch.class,
                () -> own.read("{\"size\":\"SMALL\",\"later\":1}".getBytes(StandardCharsets.UTF_8), Box.class));
        assertEquals(".later must be left out: it is not known", error.getMessage());
    }

    /** What a program does that has no Jackson. */
    public static final class Bare implements Callable<String> {
        @Override
        public String call() throws Exception {
            var codec =
                    Codec.of(value -> value.toString().getBytes(StandardCharsets.UTF_8), (json, type) -> json.length);
            Client.builder("127.0.0.1:1").codec(codec).build().close();
            JobKind.define("k", String.class).build().job("p").build();
            try {
                Codecs.jackson();
                return "Jackson is there";
            } catch (IllegalStateException error) {
                return error.getMessage();
            }
        }
    }

    @Test
    void aProgramWithoutJacksonLacksItsCodecAlone() throws Exception {
        var places = Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(each -> !each.contains("jackson"))
                .map(CodecsTest::address)
                .toArray(URL[]::new);
        try (var loader = new URLClassLoader(places, ClassLoader.getPlatformClassLoader())) {
            var made = loader.loadClass(Bare.class.getName()).getConstructor().newInstance();
            assertEquals(
                    "Codecs.jackson() needs com.fasterxml.jackson.core:jackson-databind on the class path",
                    ((Callable<?>) made).call());
        }
    }

    private static URL address(String place) {
        try {
            return new File(place).toURI().toURL();
        } catch (MalformedURLException error) {
            throw new IllegalStateException(error);
        }
    }

    @Test
    void whatIsWrittenIsReadBack() throws Exception {
        var box = new Box(Size.SMALL, false, 1.5, UUID.randomUUID(), List.of());
        assertEquals(box, CODEC.read(CODEC.write(box), Box.class));
        assertEquals(Map.of("a", 1), CODEC.read(CODEC.write(Map.of("a", 1)), Map.class));
    }
}
