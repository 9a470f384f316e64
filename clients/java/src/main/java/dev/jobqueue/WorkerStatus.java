package dev.jobqueue;

import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.StringJoiner;

/**
 * How a worker is, as it was when {@link Worker#status} was asked. Times are by the worker's clock.
 *
 * @param state what it does
 * @param server the name of the server that holds its session, or held it last; empty: none has welcomed it
 * @param session the number of its newest session; 0: it has had none
 * @param since since when it is in this state
 * @param lastHeard when the newest frame of a server came; empty: none has come
 * @param slots how many jobs it takes at most now; 0 while it is paused
 * @param running how many handlers run, those of {@code orphans} included
 * @param orphans how many handlers run on though their session is over
 * @param kinds the kinds that it has handlers for, sorted
 * @param unknownKinds those of them that the server does not know, as of its last welcome: no job of them can be enqueued
 * @param lastError why it lost its stream or was refused, the last time; empty: neither has happened
 * @param observerDropped how many events its {@link Observer} was not told of, because 10,000 waited already
 */
public record WorkerStatus(
        State state,
        String server,
        long session,
        Instant since,
        Optional<Instant> lastHeard,
        int slots,
        int running,
        int orphans,
        List<String> kinds,
        List<String> unknownKinds,
        String lastError,
        long observerDropped) {
    /** What a worker does. */
    public enum State {
        /** No server has welcomed it yet. */
        STARTING,
        /** It holds a stream to a server. */
        SERVING,
        /** It has lost its stream, and tries to get another one. Its handlers run on. */
        RECONNECTING,
        /** It takes no more jobs, and finishes those that it has. */
        DRAINING,
        /** {@link Worker#run} or {@link Worker#serve} has returned, or has thrown. */
        ENDED,
        /** A server has refused what no other try mends: the credentials, a permission or a field. */
        REFUSED;

        /** Its name in {@code /livez} and {@code /readyz}, for example {@code serving}. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Keeps copies of the lists. */
    public WorkerStatus {
        kinds = List.copyOf(kinds);
        unknownKinds = List.copyOf(unknownKinds);
    }

    /** As the body of {@code /livez} and {@code /readyz}: times are RFC 3339, null where there is none. */
    public Json asJson() {
        return Json.of("{\"state\":" + text(state.toString())
                + ",\"server\":" + text(server)
                + ",\"session\":" + session
                + ",\"since\":" + text(since.toString())
                + ",\"last_heard\":"
                + lastHeard.map(each -> text(each.toString())).orElse("null")
                + ",\"slots\":" + slots
                + ",\"running\":" + running
                + ",\"orphans\":" + orphans
                + ",\"kinds\":" + texts(kinds)
                + ",\"unknown_kinds\":" + texts(unknownKinds)
                + ",\"last_error\":" + text(lastError)
                + ",\"observer_dropped\":" + observerDropped
                + "}");
    }

    private static String texts(List<String> values) {
        var list = new StringJoiner(",", "[", "]");
        values.forEach(each -> list.add(text(each)));
        return list.toString();
    }

    private static String text(String value) {
        var quoted = new StringBuilder("\"");
        for (var i = 0; i < value.length(); i++) {
            var each = value.charAt(i);
            if (each == '"' || each == '\\') {
                quoted.append('\\').append(each);
            } else if (each < ' ' || Character.isSurrogate(each)) {
                quoted.append("\\u%04x".formatted((int) each));
            } else {
                quoted.append(each);
            }
        }
        return quoted.append('"').toString();
    }
}
