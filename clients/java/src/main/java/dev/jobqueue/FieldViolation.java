package dev.jobqueue;

/**
 * One field that was wrong.
 *
 * @param field its path in the request, for example {@code job.payload.to}
 * @param description what is wrong with it and what would be right
 */
public record FieldViolation(String field, String description) {}
