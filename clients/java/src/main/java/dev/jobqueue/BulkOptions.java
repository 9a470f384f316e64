package dev.jobqueue;

/**
 * What the changes of many jobs have in common.
 *
 * @param <B> the builder
 */
public abstract sealed class BulkOptions<B extends BulkOptions<B>>
        permits RetryJobs.Builder, CancelJobs.Builder, DeleteJobs.Builder, UpdateJobs.Builder {
    boolean force;
    int perSecond;
    long maxJobs;
    String requestId = "";
    /** Null: it is not said. */
    Long expected;

    BulkOptions() {}

    abstract B self();

    /** Do it. Without it nothing changes, and the answer has how many match and some of them. */
    public B force() {
        force = true;
        return self();
    }

    /** How many jobs a second. Default: as fast as the service takes it. */
    public B perSecond(int jobs) {
        perSecond = jobs;
        return self();
    }

    /** After so many it is done. Default: after all. */
    public B maxJobs(long jobs) {
        maxJobs = jobs;
        return self();
    }

    /**
     * A text of your own: the same call again is answered the operation of the first. Without one the call is not tried again
     * when the server is away.
     */
    public B requestId(String id) {
        requestId = id;
        return self();
    }

    /** How many should match, as the dry run said. More than a tenth off, nothing is changed. */
    public B expected(long jobs) {
        expected = jobs;
        return self();
    }

    /** Whether the call changes nothing when it is made twice. */
    boolean mayRepeat() {
        return !force || !requestId.isEmpty();
    }
}
