package dev.jobqueue.opentelemetry;

import io.opentelemetry.api.common.AttributeKey;

/** The names of attributes. OpenTelemetry's conventions for messaging are not stable: they change here alone. */
final class Names {
    static final AttributeKey<String> MESSAGING_SYSTEM = AttributeKey.stringKey("messaging.system");
    static final AttributeKey<String> MESSAGING_OPERATION = AttributeKey.stringKey("messaging.operation.name");
    static final AttributeKey<String> MESSAGING_OPERATION_TYPE = AttributeKey.stringKey("messaging.operation.type");
    static final AttributeKey<String> MESSAGING_DESTINATION = AttributeKey.stringKey("messaging.destination.name");
    static final AttributeKey<String> MESSAGING_MESSAGE_ID = AttributeKey.stringKey("messaging.message.id");
    static final AttributeKey<String> ERROR_TYPE = AttributeKey.stringKey("error.type");
    static final String EXCEPTION = "exception";
    static final AttributeKey<String> EXCEPTION_TYPE = AttributeKey.stringKey("exception.type");
    static final AttributeKey<String> EXCEPTION_MESSAGE = AttributeKey.stringKey("exception.message");
    static final AttributeKey<String> EXCEPTION_STACK = AttributeKey.stringKey("exception.stacktrace");

    // Ours.
    static final AttributeKey<String> KIND = AttributeKey.stringKey("jobqueue.kind");
    static final AttributeKey<Long> ATTEMPT = AttributeKey.longKey("jobqueue.attempt");
    static final AttributeKey<Long> LEASE = AttributeKey.longKey("jobqueue.lease_id");
    static final AttributeKey<Long> WAIT = AttributeKey.longKey("jobqueue.wait_ms");
    static final AttributeKey<String> OUTCOME = AttributeKey.stringKey("jobqueue.outcome");

    static final String SYSTEM = "jobqueue";
    static final String PROCESS = "process";

    private Names() {}
}
