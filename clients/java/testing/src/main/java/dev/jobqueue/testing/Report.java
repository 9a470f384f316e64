package dev.jobqueue.testing;

import java.util.OptionalDouble;

/**
 * One call of {@link dev.jobqueue.JobContext#progress(double, String)}.
 *
 * @param fraction the share of the work that is done, 0..1; empty: it did not say
 * @param message what it said; empty: nothing
 */
public record Report(OptionalDouble fraction, String message) {}
