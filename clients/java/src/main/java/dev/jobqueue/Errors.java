package dev.jobqueue;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.jobqueue.JobQueueException.Facts;
import io.grpc.Metadata;
import io.grpc.Status.Code;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.regex.Pattern;

/** From what gRPC answers to the exception that says what to do about it. */
final class Errors {
    private static final Metadata.Key<String> REQUEST_ID =
            Metadata.Key.of("x-request-id", Metadata.ASCII_STRING_MARSHALLER);

    // What netty says where HTTP/1 is answered; 48545450 is "HTTP".
    private static final Pattern NO_HTTP2 =
            Pattern.compile("HTTP/1\\.|not SETTINGS.*48545450|Expected SETTINGS", Pattern.CASE_INSENSITIVE);

    private static final Map<String, BiFunction<Facts, Throwable, JobQueueException>> BY_REASON = Map.ofEntries(
            Map.entry("PAYLOAD_INVALID", JobQueueException.PayloadInvalid::new),
            Map.entry("PAYLOAD_TOO_LARGE", JobQueueException.TooLarge::new),
            Map.entry("BODY_TOO_LARGE", JobQueueException.TooLarge::new),
            Map.entry("KIND_UNKNOWN", JobQueueException.KindUnknown::new),
            Map.entry("JOB_NOT_FOUND", JobQueueException.JobNotFound::new),
            Map.entry("QUEUE_NOT_FOUND", JobQueueException.QueueNotFound::new),
            Map.entry("SCHEDULE_NOT_FOUND", JobQueueException.ScheduleNotFound::new),
            Map.entry("SCHEDULE_EXISTS", JobQueueException.ScheduleExists::new),
            Map.entry("SCHEDULES_FULL", JobQueueException.SchedulesFull::new),
            Map.entry("FILTER_CHANGED", JobQueueException.FilterChanged::new),
            Map.entry("OPERATION_NOT_FOUND", JobQueueException.OperationNotFound::new),
            Map.entry("OPERATION_NOT_DONE", JobQueueException.OperationNotDone::new),
            Map.entry("REQUEST_ID_REUSED", JobQueueException.RequestIdReused::new),
            Map.entry("WORKER_NOT_FOUND", JobQueueException.WorkerNotFound::new),
            Map.entry("JOB_TERMINAL", JobQueueException.JobTerminal::new),
            Map.entry("JOB_NOT_HELD", JobQueueException.JobNotHeld::new),
            Map.entry("JOB_NOT_TERMINAL", JobQueueException.JobNotTerminal::new),
            Map.entry("IDEMPOTENCY_KEY_REUSED", JobQueueException.IdempotencyKeyReused::new),
            Map.entry("DUPLICATE", JobQueueException.Duplicate::new),
            Map.entry("SERVERS_DIFFER", JobQueueException.ServersDiffer::new),
            Map.entry("ETAG_MISMATCH", JobQueueException.EtagMismatch::new),
            Map.entry("KEY_POLICY_CONFLICT", JobQueueException.KeyPolicyConflict::new),
            Map.entry("KEY_NOT_BLOCKED", JobQueueException.KeyNotBlocked::new),
            Map.entry("QUEUE_KEYS_FULL", JobQueueException.QueueKeysFull::new),
            Map.entry("QUEUE_BACKLOG_FULL", JobQueueException.QueueBacklogFull::new),
            Map.entry("KEY_BACKLOG_FULL", JobQueueException.KeyBacklogFull::new),
            Map.entry("WATCH_TOKEN_EXPIRED", JobQueueException.WatchTokenExpired::new),
            Map.entry("SESSION_UNKNOWN", JobQueueException.SessionUnknown::new),
            Map.entry("SESSION_ENDED", JobQueueException.SessionEnded::new),
            Map.entry("SESSION_SUPERSEDED", JobQueueException.SessionSuperseded::new),
            Map.entry("SESSION_SILENT", JobQueueException.SessionSilent::new),
            Map.entry("NAMESPACE_DISABLED", JobQueueException.NamespaceDisabled::new));

    private Errors() {}

    /** The exception of a failed call; the metadata is what came back with it, each may be null. */
    static JobQueueException of(io.grpc.Status status, Metadata headers, Metadata trailers) {
        var words = words(status);
        var reason = "";
        Map<String, String> metadata = Map.of();
        List<FieldViolation> violations = List.of();
        Duration retryAfter = null;
        try {
            var details = trailers == null ? null : StatusProto.fromStatusAndTrailers(status, trailers);
            for (Any each : details == null ? List.<Any>of() : details.getDetailsList()) {
                if (each.is(ErrorInfo.class)) {
                    var info = each.unpack(ErrorInfo.class);
                    reason = info.getReason();
                    metadata = info.getMetadataMap();
                } else if (each.is(BadRequest.class)) {
                    violations = each.unpack(BadRequest.class).getFieldViolationsList().stream()
                            .map(one -> new FieldViolation(one.getField(), one.getDescription()))
                            .toList();
                } else if (each.is(RetryInfo.class)) {
                    var info = each.unpack(RetryInfo.class);
                    retryAfter = info.hasRetryDelay() ? Times.of(info.getRetryDelay()) : null;
                }
            }
        } catch (InvalidProtocolBufferException | RuntimeException error) {
            // A proxy garbled them: the code and the message still say what happened.
        }
        BiFunction<Facts, Throwable, JobQueueException> type = BY_REASON.getOrDefault(reason, byCode(status.getCode()));
        if (reason.isEmpty() && status.getCode() == Code.RESOURCE_EXHAUSTED && isTooLong(words)) {
            // gRPC refuses a message before anybody has read it.
            type = JobQueueException.TooLarge::new;
            words = "a message is too large, the most is 4 MiB (" + words + ")";
        }
        return type.apply(
                new Facts(
                        words,
                        status.getCode(),
                        reason,
                        metadata,
                        violations,
                        retryAfter,
                        requestId(headers, trailers)),
                status.getCause());
    }

    private static String words(io.grpc.Status status) {
        if (status.getDescription() == null) {
            return "no details were given";
        }
        // Of a connection that can't be made gRPC says "io exception", and its cause why.
        var cause = status.getCause();
        var why = cause == null || cause.getMessage() == null ? "" : cause.getMessage();
        if (NO_HTTP2.matcher(status.getDescription() + why).find()) {
            return status.getDescription() + ": " + why
                    + "; this may be the HTTP port (gRPC has another one, 50051 unless told otherwise), or one that speaks TLS";
        }
        return cause instanceof IOException && !why.isEmpty()
                ? status.getDescription() + ": " + why
                : status.getDescription();
    }

    private static boolean isTooLong(String words) {
        return words.contains("larger than max") || words.contains("exceeds maximum size");
    }

    private static String requestId(Metadata... received) {
        for (var each : received) {
            if (each != null && each.containsKey(REQUEST_ID)) {
                return each.get(REQUEST_ID);
            }
        }
        return "";
    }

    // For reasons that this version does not know, and for answers of proxies, which have none.
    private static BiFunction<Facts, Throwable, JobQueueException> byCode(Code code) {
        return switch (code) {
            case INVALID_ARGUMENT, OUT_OF_RANGE -> JobQueueException.InvalidRequest::new;
            case NOT_FOUND -> JobQueueException.NotFound::new;
            case RESOURCE_EXHAUSTED -> JobQueueException.Overloaded::new;
            case UNAVAILABLE -> JobQueueException.Unavailable::new;
            case DEADLINE_EXCEEDED -> JobQueueException.DeadlineExceeded::new;
            case UNAUTHENTICATED -> JobQueueException.Unauthenticated::new;
            case PERMISSION_DENIED -> JobQueueException.NotAllowed::new;
            case UNIMPLEMENTED -> JobQueueException.NotSupported::new;
            case INTERNAL, UNKNOWN, DATA_LOSS -> JobQueueException.ServerFault::new;
            default -> JobQueueException::new;
        };
    }

    static JobQueueException unavailable(String words) {
        return new JobQueueException.Unavailable(new Facts(words, Code.UNAVAILABLE), null);
    }

    static JobQueueException notSupported(String words) {
        return new JobQueueException.NotSupported(new Facts(words, Code.UNIMPLEMENTED), null);
    }

    /** Of a wait that has ended; an empty summary: it is not known why the job has not. */
    static JobQueueException waitTimeout(String words, Job job, String summary) {
        var facts = new Facts(words, Code.DEADLINE_EXCEEDED, "", Map.of("job_id", job.id()), List.of(), null, "");
        var error = new JobQueueException.WaitTimeout(facts, job, summary);
        error.note(summary.isEmpty() ? "maybe no worker takes its kind, which explain(id) tells" : summary);
        return error;
    }

    /** Of a schedule that is not to be touched, for it is of this owner; empty: of none. */
    static JobQueueException scheduleOf(String name, String owner) {
        var words = "the schedule " + name + (owner.isEmpty() ? " has no owner" : " is of " + owner);
        var metadata = Map.of("schedule", name, "owner", owner);
        return of(new Facts(words, Code.ALREADY_EXISTS, "SCHEDULE_EXISTS", metadata, List.of(), null, ""));
    }

    /** What this side refuses before it is sent. */
    static JobQueueException invalid(String field, String description, Throwable cause) {
        var violations = List.of(new FieldViolation(field, description));
        var facts = new Facts(field + ": " + description, Code.INVALID_ARGUMENT, "", Map.of(), violations, null, "");
        return new JobQueueException.InvalidRequest(facts, cause);
    }

    /** A typed payload that this side refuses, as a server refuses what does not satisfy the kind's schema. */
    static JobQueueException payloadInvalid(String field, String description) {
        var violations = List.of(new FieldViolation(field, description));
        var facts = new Facts(
                field + ": " + description, Code.INVALID_ARGUMENT, "PAYLOAD_INVALID", Map.of(), violations, null, "");
        return new JobQueueException.PayloadInvalid(facts, null);
    }

    /** The exception of what is known of a failed call. */
    static JobQueueException of(Facts facts) {
        return BY_REASON.getOrDefault(facts.reason(), byCode(facts.code())).apply(facts, null);
    }

    /** The same error with other paths. */
    static JobQueueException withViolations(JobQueueException error, List<FieldViolation> violations) {
        var was = error.facts();
        var facts = new Facts(
                was.message(), was.code(), was.reason(), was.metadata(), violations, was.retryAfter(), was.requestId());
        return BY_REASON.getOrDefault(was.reason(), byCode(was.code())).apply(facts, error.getCause());
    }
}
