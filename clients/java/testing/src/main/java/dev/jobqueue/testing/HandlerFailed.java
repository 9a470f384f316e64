package dev.jobqueue.testing;

/** An attempt failed without an exception of its handler, for example since its output is too large. */
public final class HandlerFailed extends RuntimeException {
    private final transient Performed<?> performed;

    HandlerFailed(Performed<?> performed) {
        super("%s: %s".formatted(performed.errorType(), performed.error()));
        this.performed = performed;
    }

    /** What the attempt came to. */
    public Performed<?> performed() {
        return performed;
    }
}
