package dev.jobqueue;

import io.grpc.Status.Code;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A call was refused or failed. Every answer of a server that is no success becomes one; its class is one of those
 * within, and says what a caller can do about it.
 */
public sealed class JobQueueException extends RuntimeException {
    private final transient Facts facts;
    private transient List<EnqueueResult> enqueued = List.of();
    private String note = "";

    /** What is known of a failed call. */
    record Facts(
            String message,
            Code code,
            String reason,
            Map<String, String> metadata,
            List<FieldViolation> violations,
            Duration retryAfter,
            String requestId) {
        Facts(String message, Code code) {
            this(message, code, "", Map.of(), List.of(), null, "");
        }
    }

    JobQueueException(Facts facts, Throwable cause) {
        super(facts.message, cause);
        this.facts = facts;
    }

    /** The code of gRPC. */
    public Code code() {
        return facts.code;
    }

    /** The stable name of the cause, for example {@code JOB_NOT_FOUND}. Empty when no JobQueue server answered. */
    public String reason() {
        return facts.reason;
    }

    /** Facts about the error, for example {@code job_id}. */
    public Map<String, String> metadata() {
        return facts.metadata;
    }

    /** The fields that were wrong. */
    public List<FieldViolation> violations() {
        return facts.violations;
    }

    /** How long the server asks to wait before another try. Empty: it does not ask. */
    public Optional<Duration> retryAfter() {
        return Optional.ofNullable(facts.retryAfter);
    }

    /** Finds the call in the server's log. Empty when no server answered. */
    public String requestId() {
        return facts.requestId;
    }

    /** Of {@code enqueueMany}: the jobs of the batches before, which are committed. */
    public List<EnqueueResult> enqueued() {
        return enqueued;
    }

    /** Everything that a person needs. */
    @Override
    public String getMessage() {
        var text = new StringBuilder(facts.reason.isEmpty() ? facts.code.name() : facts.reason);
        text.append(": ").append(facts.message);
        var fields = String.join(
                "; ",
                facts.violations.stream()
                        .map(each -> each.field() + ": " + each.description())
                        .toList());
        // A server often says the one violation in its message already.
        if (!fields.isEmpty() && !facts.message.contains(fields)) {
            text.append(" (").append(fields).append(')');
        }
        return text.append(note).toString();
    }

    Facts facts() {
        return facts;
    }

    void note(String words) {
        note += "; " + words;
    }

    void enqueued(List<EnqueueResult> before) {
        enqueued = List.copyOf(before);
        note("the " + before.size() + " jobs of the batches before are enqueued");
    }

    /** A field is malformed or out of its range: correct the call; {@code violations()} says where. */
    public static sealed class InvalidRequest extends JobQueueException {
        InvalidRequest(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The payload does not satisfy its kind's schema: correct the payload. */
    public static final class PayloadInvalid extends InvalidRequest {
        PayloadInvalid(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** Make it smaller, or store it elsewhere and send its address. */
    public static final class TooLarge extends InvalidRequest {
        TooLarge(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The kind was never put: look for a typing error, or put it. */
    public static final class KindUnknown extends InvalidRequest {
        KindUnknown(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** What was asked for does not exist, or no longer exists. */
    public static sealed class NotFound extends JobQueueException {
        NotFound(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** There is no job of this id: it was never there, was deleted, or its retention has ended. */
    public static final class JobNotFound extends NotFound {
        JobNotFound(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** No job was ever enqueued in this queue. */
    public static final class QueueNotFound extends NotFound {
        QueueNotFound(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** No schedule has this name: it was never made, or it was deleted. */
    public static final class ScheduleNotFound extends NotFound {
        ScheduleNotFound(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** No open session has this number: it never existed, has ended, or takes nothing that may be read. */
    public static final class WorkerNotFound extends NotFound {
        WorkerNotFound(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** No operation has this name: it was never there, was deleted, is another's, or its retention has ended. */
    public static final class OperationNotFound extends NotFound {
        OperationNotFound(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The operation is not done: wait for it, or cancel it first. */
    public static final class OperationNotDone extends JobQueueException {
        OperationNotDone(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /**
     * The request id belongs to another request, whose operation is {@code metadata().get("operation")}: choose a new one.
     */
    public static final class RequestIdReused extends JobQueueException {
        RequestIdReused(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** Not about as many jobs match as were expected: {@code metadata().get("estimate")} says how many. */
    public static final class FilterChanged extends JobQueueException {
        FilterChanged(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** A schedule has this name: choose another one, or change that one. */
    public static final class ScheduleExists extends JobQueueException {
        ScheduleExists(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The namespace has as many schedules as it may have: delete some of them. */
    public static final class SchedulesFull extends JobQueueException {
        SchedulesFull(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The job has ended and can't be cancelled: {@code metadata().get("status")} says how it ended. */
    public static final class JobTerminal extends JobQueueException {
        JobTerminal(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The job is not over: wait for it or cancel it first. */
    public static final class JobNotTerminal extends JobQueueException {
        JobNotTerminal(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The job is not held back: it was released before, enqueued without {@code hold}, or has ended. */
    public static final class JobNotHeld extends JobQueueException {
        JobNotHeld(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The key belongs to another request: {@code metadata().get("job_id")} names its job. */
    public static final class IdempotencyKeyReused extends JobQueueException {
        IdempotencyKeyReused(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** Another job, {@code metadata().get("job_id")}, holds the name of a unique one: leave the work to it. */
    public static final class Duplicate extends JobQueueException {
        Duplicate(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The queue was changed since its etag was read: read it again and decide anew. */
    public static final class EtagMismatch extends JobQueueException {
        EtagMismatch(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** Parts of a queue's key policy would contradict each other. */
    public static final class KeyPolicyConflict extends JobQueueException {
        KeyPolicyConflict(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** No failed job blocks the key: it was unblocked before, or its job was retried or deleted. */
    public static final class KeyNotBlocked extends JobQueueException {
        KeyNotBlocked(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /**
     * An older server that still runs would break what was asked for: upgrade those in
     * {@code metadata().get("servers")} first.
     */
    public static final class ServersDiffer extends JobQueueException {
        ServersDiffer(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** Something is said of as many keys of the queue as may be: set back some of them first. */
    public static final class QueueKeysFull extends JobQueueException {
        QueueKeysFull(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The server has too much to do: try again after {@code retryAfter()}. */
    public static sealed class Overloaded extends JobQueueException {
        Overloaded(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /**
     * As many jobs wait in the queue {@code metadata().get("queue")} as it lets wait: {@code metadata().get("limit")} says how
     * many.
     */
    public static final class QueueBacklogFull extends Overloaded {
        QueueBacklogFull(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** As many jobs wait for a key as its queue lets wait: {@code violations()} says which jobs of the call have it. */
    public static final class KeyBacklogFull extends Overloaded {
        KeyBacklogFull(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /**
     * No server answered, or it can't reach its database or the issuer of tokens. What was asked for may have been
     * done.
     */
    public static final class Unavailable extends JobQueueException {
        Unavailable(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** Not done in time. What was asked for may have been done. */
    public static sealed class DeadlineExceeded extends JobQueueException {
        DeadlineExceeded(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The job was not over in time; {@code job()} is how it stood, and {@code summary()} why. */
    public static final class WaitTimeout extends DeadlineExceeded {
        private final transient Job job;
        private final String summary;

        WaitTimeout(Facts facts, Job job, String summary) {
            super(facts, null);
            this.job = job;
            this.summary = summary;
        }

        /** The job as it was at the end. */
        public Job job() {
            return job;
        }

        /**
         * Why it had not ended, in a sentence, as {@link Client#explain} says it. Empty: the wait was shorter than a second,
         * or no server answered that.
         */
        public String summary() {
            return summary;
        }
    }

    /** The token is too old: list the jobs, then watch without it. */
    public static final class WatchTokenExpired extends JobQueueException {
        WatchTokenExpired(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The server has no such session: open a new one. The Worker does so by itself. */
    public static sealed class SessionUnknown extends JobQueueException {
        SessionUnknown(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The worker's session has ended, its leases were given back: open a new one. The Worker does so by itself. */
    public static final class SessionEnded extends SessionUnknown {
        SessionEnded(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** Another stream has resumed the session: resume it there. The Worker does so by itself. */
    public static final class SessionSuperseded extends JobQueueException {
        SessionSuperseded(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The server heard nothing of the worker for three heartbeats: resume it. The Worker does so by itself. */
    public static final class SessionSilent extends JobQueueException {
        SessionSilent(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The credentials are not enough for this call: {@code metadata().get("permission")} is what would be granted. */
    public static sealed class NotAllowed extends JobQueueException {
        NotAllowed(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The credentials are missing or wrong, have expired, or were revoked: {@code reason()} says which. */
    public static final class Unauthenticated extends NotAllowed {
        Unauthenticated(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The namespace of the credentials was disabled: an administrator can enable it. */
    public static final class NamespaceDisabled extends NotAllowed {
        NamespaceDisabled(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** The server does not have this method: it is older than the client, or no JobQueue server. */
    public static final class NotSupported extends JobQueueException {
        NotSupported(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }

    /** Give the server's operator {@code requestId()} or {@code metadata().get("error_id")}. */
    public static final class ServerFault extends JobQueueException {
        ServerFault(Facts facts, Throwable cause) {
            super(facts, cause);
        }
    }
}
