package dev.jobqueue;

import java.time.Duration;
import java.util.List;

/**
 * The name of work that is to be done once: while a job holds it, others of the name are not stored.
 *
 * @param key the name, 1..255 characters; empty: the payload makes it
 * @param payloadFields JSON pointers to the parts of the payload that make it, such as {@code /user/id}; at most 16;
 *     empty: all of it, which may then have at most 64 KiB
 * @param scope among which jobs of the namespace it stands once
 * @param until until when the job holds it
 * @param period at least so long, 1 s to 400 days; {@link Until#PERIOD} wants one; null: none
 * @param onConflict what becomes of the job if another one holds the name
 * @param replace what of that one is changed then, with {@link OnConflict#REPLACE} and {@link OnConflict#DEBOUNCE};
 *     empty: payload, labels and headers with REPLACE, its start alone with DEBOUNCE
 * @param maxDelay with {@link OnConflict#DEBOUNCE}, that one starts at most so long after its own enqueue; null: no such
 *     bound
 */
public record Unique(
        String key,
        List<String> payloadFields,
        Scope scope,
        Until until,
        Duration period,
        OnConflict onConflict,
        List<Field> replace,
        Duration maxDelay) {
    /** Among which jobs of the namespace a name stands once. */
    public enum Scope {
        /** Those of the same kind, in all queues. */
        KIND,
        /** Those of the same kind in the same queue. */
        QUEUE_AND_KIND,
        /** Those of the same queue, of all kinds. */
        QUEUE,
        /** All. */
        NAMESPACE
    }

    /** Until when a unique job holds its name. */
    public enum Until {
        /** Until a worker gets it: one may wait beside one that runs. */
        STARTS,
        /** Until it has ended. */
        ENDS,
        /** For the period, whatever becomes of it. */
        PERIOD
    }

    /** What becomes of a job whose name another one holds. */
    public enum OnConflict {
        /** It is not stored, and the other one is the answer. */
        KEEP,
        /** The call fails with {@link JobQueueException.Duplicate}. */
        REJECT,
        /** The other one, if it waits, gets what this one brings, and is the answer. */
        REPLACE,
        /** As REPLACE, and it starts after the delay of this one, from now. */
        DEBOUNCE
    }

    /** What of a job can be replaced. */
    public enum Field {
        /** The payload. */
        PAYLOAD,
        /** When it may start; now if this one says nothing. */
        RUN_AT,
        /** The priority. */
        PRIORITY,
        /** The labels. */
        LABELS,
        /** The headers. */
        HEADERS,
        /** How many failures end it. */
        MAX_ATTEMPTS,
        /** How long one attempt may run. */
        TIMEOUT
    }

    /** What was done with the job that holds the name of one that was to be enqueued. */
    public enum Action {
        /** It is as it was. */
        KEPT,
        /** It got what the other one brought. */
        REPLACED,
        /** It starts later now. */
        DEBOUNCED;

        /** What this version does not know is shown as KEPT; null: that one was stored. */
        static Action of(dev.jobqueue.v1.Unique.Action action) {
            return switch (action) {
                case ACTION_UNSPECIFIED -> null;
                case REPLACED -> REPLACED;
                case DEBOUNCED -> DEBOUNCED;
                default -> KEPT;
            };
        }
    }

    /** With lists of its own. */
    public Unique {
        payloadFields = List.copyOf(payloadFields);
        replace = List.copyOf(replace);
    }

    /** Work of this name. */
    public static Unique key(String name) {
        return new Unique(name, List.of(), Scope.KIND, Until.STARTS, null, OnConflict.KEEP, List.of(), null);
    }

    /** Work that is named by its payload, or by the parts of it that these JSON pointers find. */
    public static Unique payload(String... pointers) {
        return new Unique("", List.of(pointers), Scope.KIND, Until.STARTS, null, OnConflict.KEEP, List.of(), null);
    }

    /** {@link #whileWaiting(String)} that the payload names: there is one for each payload. */
    public static Unique whileWaiting() {
        return payload();
    }

    /**
     * At most one waits: while it does, another one of the name is not stored. Once it starts the next may wait.
     *
     * @param key the name; empty: the payload makes it, and then there is one for each payload
     */
    public static Unique whileWaiting(String key) {
        return key(key);
    }

    /** {@link #whileLive(String)} that the payload names: there is one for each payload. */
    public static Unique whileLive() {
        return whileLive("");
    }

    /**
     * At most one waits or runs: until it has ended, another one of the name is not stored.
     *
     * @param key the name; empty: the payload makes it, and then there is one for each payload
     */
    public static Unique whileLive(String key) {
        return key(key).until(Until.ENDS);
    }

    /** {@link #throttle(Duration, String)} that the payload names: there is one for each payload. */
    public static Unique throttle(Duration period) {
        return throttle(period, "");
    }

    /**
     * At most one in each period: what comes meanwhile is not stored.
     *
     * @param period 1 s to 400 days, from its enqueue
     * @param key the name; empty: the payload makes it, and then there is one for each payload
     */
    public static Unique throttle(Duration period, String key) {
        return key(key).until(Until.PERIOD).period(period);
    }

    /** {@link #debounce(Duration, String)} that the payload names: there is one for each payload. */
    public static Unique debounce(Duration maxDelay) {
        return debounce(maxDelay, "");
    }

    /**
     * Each enqueue puts off the one that waits to its own {@link NewJob.Builder#delay}, and gives it its payload.
     *
     * @param maxDelay it starts at most so long after the first enqueue, from that delay to 400 days; null: it can be put off
     *     for ever
     * @param key the name; empty: the payload makes it, and then there is one for each payload
     */
    public static Unique debounce(Duration maxDelay, String key) {
        return key(key).debouncing(maxDelay, Field.PAYLOAD);
    }

    /** The same among these jobs. */
    public Unique scope(Scope scope) {
        return new Unique(key, payloadFields, scope, until, period, onConflict, replace, maxDelay);
    }

    /** The same until then. */
    public Unique until(Until until) {
        return new Unique(key, payloadFields, scope, until, period, onConflict, replace, maxDelay);
    }

    /** The same, at least for so long. */
    public Unique period(Duration period) {
        return new Unique(key, payloadFields, scope, until, period, onConflict, replace, maxDelay);
    }

    /** The same, whose call fails if another job holds the name. */
    public Unique rejecting() {
        return new Unique(key, payloadFields, scope, until, period, OnConflict.REJECT, replace, maxDelay);
    }

    /** The same, which changes these fields of a job that holds the name and waits; none: payload, labels and headers. */
    public Unique replacing(Field... fields) {
        return new Unique(key, payloadFields, scope, until, period, OnConflict.REPLACE, List.of(fields), maxDelay);
    }

    /**
     * The same, which lets a job that holds the name and waits start after the delay of this one, and changes these fields
     * of it.
     *
     * @param maxDelay it starts at most so long after its own enqueue; null: no such bound
     * @param fields what else of it is changed
     */
    public Unique debouncing(Duration maxDelay, Field... fields) {
        return new Unique(key, payloadFields, scope, until, period, OnConflict.DEBOUNCE, List.of(fields), maxDelay);
    }

    dev.jobqueue.v1.Unique message() {
        var message = dev.jobqueue.v1.Unique.newBuilder()
                .setKey(key)
                .addAllPayloadFields(payloadFields)
                .setScope(dev.jobqueue.v1.Unique.Scope.valueOf(scope.name()))
                .setUntil(dev.jobqueue.v1.Unique.Until.valueOf(until.name()))
                .setOnConflict(dev.jobqueue.v1.Unique.OnConflict.valueOf(onConflict.name()));
        replace.forEach(field -> message.addReplace(dev.jobqueue.v1.Unique.Field.valueOf(field.name())));
        if (period != null) {
            message.setPeriod(Times.message(period));
        }
        if (maxDelay != null) {
            message.setMaxDelay(Times.message(maxDelay));
        }
        return message.build();
    }
}
