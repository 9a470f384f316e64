package dev.jobqueue;

import com.google.protobuf.ByteString;
import dev.jobqueue.v1.Failure;
import dev.jobqueue.v1.Outcome;
import dev.jobqueue.v1.Release;
import dev.jobqueue.v1.Success;
import java.io.InterruptedIOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.lang.reflect.UndeclaredThrowableException;
import java.net.SocketTimeoutException;
import java.nio.channels.ClosedByInterruptException;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;

/** What a handler's end means: the one table from results and exceptions to outcomes. */
final class Endings {
    private static final int TYPE_CHARACTERS = 255;
    // A server refuses the outcome of a longer one.
    private static final Duration LONGEST_PAUSE = Duration.ofHours(24);
    private static final int ERROR_BYTES = 8 * 1024;
    private static final int STACK_BYTES = 32 * 1024;
    // Refused here with the handler's name on it; a server with a lower limit answers INVALID, which says so as well.
    private static final int OUTPUT_BYTES = 1024 * 1024;
    private static final Set<Class<?>> SAME_EVERYWHERE = Set.of(
            PayloadUnreadable.class,
            CheckpointUnreadable.class,
            PayloadTooNew.class,
            Encoded.class,
            EncodingRequired.class,
            EncodingUnknown.class,
            KeyUnknown.class,
            Undecodable.class);

    private Endings() {}

    /**
     * Null: a success without output, which travels as a bare number.
     *
     * @throws RuntimeException what an encoding throws: the attempt has failed, and nothing of it is sent
     */
    static Outcome.Builder ofResult(Object output, JobContext context) {
        ByteString text;
        try {
            text = Json.encode(output, context.codec());
        } catch (Exception error) {
            // A codec's words may have the value, which may be one to encrypt.
            var why = error instanceof Unwritable
                    ? error.getMessage()
                    : error.getClass().getName();
            return failed("OutputError", "the handler's output can't be written as JSON: " + why);
        }
        var coded = context.begun();
        if (coded != null && text != null) {
            text = coded.output(text);
        }
        // As it is sent: it may have been compressed.
        if (isTooLong(text)) {
            return tooLong(text);
        }
        var following = context.takeFollowUps();
        if (coded != null) {
            following = coded.followUps(following);
        }
        if (text == null && following.isEmpty()) {
            return null;
        }
        var success = Success.newBuilder().addAllFollowUps(following);
        if (text != null) {
            success.setOutputJson(text);
        }
        return Outcome.newBuilder().setSuccess(success);
    }

    private static boolean isTooLong(ByteString text) {
        return text != null && text.size() > OUTPUT_BYTES;
    }

    private static Outcome.Builder tooLong(ByteString text) {
        return failed(
                "OutputError",
                "the handler's output is %d bytes of JSON, the limit is %d: store it elsewhere and return its address"
                        .formatted(text.size(), OUTPUT_BYTES));
    }

    /** What a handler threw, and what it was told before; null: nothing. */
    static Outcome.Builder ofThrown(Throwable thrown, Stop stop) {
        var error = unwrapped(thrown);
        if (error instanceof Cancelled || (stop != null && stoppedBy(error))) {
            return stop != null && givesBack(stop.reason()) ? released() : cancelled();
        }
        if (error instanceof Snooze snooze) {
            return Outcome.newBuilder()
                    .setSnooze(dev.jobqueue.v1.Snooze.newBuilder().setDelay(Times.message(snooze.delay())));
        }
        var told = error instanceof Retry || error instanceof Discard;
        var cause = told && error.getCause() != null ? error.getCause() : error;
        var failure = Failure.newBuilder()
                .setErrorType(Text.cut(name(cause), TYPE_CHARACTERS))
                .setError(Text.cutAndSay(words(error), ERROR_BYTES))
                .setPermanent(error instanceof Discard);
        if (cause != error || !told) {
            failure.setStack(Text.cutAndSay(stack(cause), STACK_BYTES));
        }
        var outcome = Outcome.newBuilder();
        if (error instanceof Retry retry) {
            failure.setRetryAfter(Times.message(retry.after()));
            if (retry.pausesKey()) {
                var longer = retry.after().compareTo(LONGEST_PAUSE) > 0;
                outcome.setPauseKey(Times.message(longer ? LONGEST_PAUSE : retry.after()));
            }
        }
        return outcome.setFailure(failure);
    }

    /** The same name in every language where jobs are found by it. */
    private static String name(Throwable error) {
        var type = error.getClass();
        return SAME_EVERYWHERE.contains(type) ? type.getSimpleName() : type.getName();
    }

    private static boolean givesBack(Stop.Reason reason) {
        return reason == Stop.Reason.SHUTDOWN || reason == Stop.Reason.LOST;
    }

    private static Outcome.Builder cancelled() {
        return Outcome.newBuilder().setCancellation(dev.jobqueue.v1.Cancellation.getDefaultInstance());
    }

    /** The job goes back, uncharged. */
    static Outcome.Builder released() {
        return Outcome.newBuilder().setRelease(Release.getDefaultInstance());
    }

    /** A failure that no exception of the handler's stands for. */
    static Outcome.Builder failed(String errorType, String message) {
        return Outcome.newBuilder()
                .setFailure(
                        Failure.newBuilder().setErrorType(errorType).setError(Text.cutAndSay(message, ERROR_BYTES)));
    }

    /** What is within those that only carry another one between threads and through interfaces. */
    static Throwable unwrapped(Throwable error) {
        while (error.getCause() != null
                && (error instanceof CompletionException
                        || error instanceof ExecutionException
                        || error instanceof UndeclaredThrowableException)) {
            error = error.getCause();
        }
        return error;
    }

    /** Whether it is how an interrupt or a cancelled future comes out of what a handler waited for. */
    static boolean stoppedBy(Throwable error) {
        for (var each = error; each != null; each = each.getCause()) {
            if (each instanceof InterruptedException
                    || each instanceof CancellationException
                    || each instanceof Cancelled
                    || each instanceof ClosedByInterruptException
                    || (each instanceof InterruptedIOException && !(each instanceof SocketTimeoutException))) {
                return true;
            }
            // A handler that could not throw it as it was has wrapped it, once: anything else is a failure of its own.
            if (each.getClass() != RuntimeException.class
                    && !(each instanceof UncheckedIOException)
                    && !(each instanceof CompletionException)
                    && !(each instanceof ExecutionException)) {
                return false;
            }
        }
        return false;
    }

    /** An exception may be unable to say what it is; its attempt has failed all the same. */
    static String words(Throwable error) {
        try {
            var message = error.getMessage();
            return message == null || message.isEmpty() ? error.getClass().getName() : message;
        } catch (RuntimeException second) {
            return "%s, whose text can't be had: %s"
                    .formatted(error.getClass().getName(), second.getClass().getName());
        }
    }

    private static String stack(Throwable error) {
        try {
            var text = new StringWriter();
            error.printStackTrace(new PrintWriter(text));
            return text.toString();
        } catch (RuntimeException second) {
            return "";
        }
    }
}
