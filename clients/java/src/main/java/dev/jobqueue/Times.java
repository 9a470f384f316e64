package dev.jobqueue;

import com.google.protobuf.Timestamp;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;

/** Times and spans between the contract and Java. */
final class Times {
    /** A hundred years: what is longer is as good as this. */
    static final Duration FOREVER = Duration.ofDays(36_500);

    private Times() {}

    static com.google.protobuf.Duration message(Duration span) {
        return com.google.protobuf.Duration.newBuilder()
                .setSeconds(signed(span))
                .setNanos(nanos(span))
                .build();
    }

    // Java's nanos are never negative, the contract's have the sign of the seconds.
    private static long signed(Duration span) {
        return span.getSeconds() < 0 && span.getNano() > 0 ? span.getSeconds() + 1 : span.getSeconds();
    }

    private static int nanos(Duration span) {
        return span.getSeconds() < 0 && span.getNano() > 0 ? span.getNano() - 1_000_000_000 : span.getNano();
    }

    static Timestamp message(Instant moment) {
        return Timestamp.newBuilder()
                .setSeconds(moment.getEpochSecond())
                .setNanos(moment.getNano())
                .build();
    }

    static Duration of(com.google.protobuf.Duration span) {
        return Duration.ofSeconds(span.getSeconds(), span.getNanos());
    }

    static Instant of(Timestamp moment) {
        return Instant.ofEpochSecond(moment.getSeconds(), moment.getNanos());
    }

    /** A moment that is there, or not. */
    static Optional<Instant> maybe(boolean there, Timestamp moment) {
        return there ? Optional.of(of(moment)) : Optional.empty();
    }

    /** A span that is there, or not. */
    static Optional<Duration> maybe(boolean there, com.google.protobuf.Duration span) {
        return there ? Optional.of(of(span)) : Optional.empty();
    }

    /** How many nanoseconds a span has, at most those of {@link #FOREVER}. */
    static long nanosOf(Duration span) {
        return (span.compareTo(FOREVER) > 0 ? FOREVER : span).toNanos();
    }
}
