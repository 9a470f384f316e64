package dev.jobqueue;

import java.time.Instant;
import java.util.Collection;
import java.util.List;
import java.util.stream.Stream;

/**
 * The methods about schedules: jobs, and the times at which they are enqueued. Made by {@link Client#schedules}.
 *
 * <p>As those of the client, each may throw a {@link JobQueueException}. {@link Client#withDeadline} is for these too, and
 * {@link AsyncSchedules} has them without waiting.
 */
public final class Schedules {
    private final AsyncSchedules async;

    Schedules(AsyncSchedules async) {
        this.async = async;
    }

    /** {@link #create(NewSchedule)} of which no more is said. */
    public Schedule create(String name, ScheduleSpec spec, NewJob job) {
        return create(NewSchedule.of(name, spec, job));
    }

    /**
     * Makes a schedule. Its first tick is the first one after now.
     *
     * @throws JobQueueException.ScheduleExists a schedule has this name
     * @throws JobQueueException.InvalidRequest a field is malformed, such as a line of cron: {@code violations()} says what
     *     would be right; or the job has a time or an idempotency key, which are the tick's
     * @throws JobQueueException.KindUnknown the kind of the job is not declared
     * @throws JobQueueException.PayloadInvalid the payload of the job does not satisfy the kind's schema
     * @throws EncodingRequired the kind of the job takes encrypted payloads alone, and this client does not encrypt
     * @throws KeyUnknown the encodings have no primary key
     * @throws IllegalArgumentException of a client with encodings: its payload makes the job unique
     * @throws JobQueueException.SchedulesFull the namespace has as many as it may have
     */
    public Schedule create(NewSchedule schedule) {
        return Futures.await(async.create(schedule));
    }

    /**
     * Reads a schedule.
     *
     * @throws JobQueueException.ScheduleNotFound no schedule has this name
     */
    public Schedule get(String name) {
        return Futures.await(async.get(name));
    }

    /** All schedules that match, in order of their names, read page by page as they are asked for. */
    public Stream<Schedule> list(ScheduleFilter filter) {
        return Pages.stream(token -> listPage(filter, token), SchedulePage::schedules, SchedulePage::nextPageToken);
    }

    /** One page of schedules. An empty token: the first one. */
    public SchedulePage listPage(ScheduleFilter filter, String pageToken) {
        return Futures.await(async.listPage(filter, pageToken));
    }

    /**
     * Changes a schedule. A change fires nothing by itself, and catches nothing up.
     *
     * @throws JobQueueException.ScheduleNotFound no schedule has this name, and the change does not make one
     * @throws JobQueueException.EtagMismatch the schedule was changed since its etag was read
     * @throws JobQueueException.InvalidRequest a field is malformed, or nothing is to be changed
     * @throws JobQueueException.KindUnknown the kind of the job is not declared
     * @throws JobQueueException.PayloadInvalid the payload of the job does not satisfy the kind's schema
     * @throws EncodingRequired the kind of the job takes encrypted payloads alone, and this client does not encrypt
     * @throws KeyUnknown the encodings have no primary key
     * @throws IllegalArgumentException of a client with encodings: its payload makes the job unique
     * @throws Encoded the job's payload is that of a schedule that was read, and was not decoded
     */
    public Schedule update(String name, ScheduleChange change) {
        return Futures.await(async.update(name, change));
    }

    /** {@link #apply(Collection, String, boolean)} that deletes none. */
    public List<AppliedSchedule> apply(Collection<NewSchedule> declared, String owner) {
        return apply(declared, owner, false);
    }

    /**
     * Makes the schedules of a program what the program declares, as it does when it starts.
     *
     * <p>One that is missing is created, one that is another is changed, and one that is as declared stays untouched. A
     * schedule that an operator has paused stays paused: {@link NewSchedule#paused} counts only where it is created. Programs
     * of one owner may do so at once. The calls are made one after the other: where one of them fails, what was done before
     * stays.
     *
     * @param declared the schedules
     * @param owner whose they are, such as the program's name: a label, {@code jobqueue.owner}. A schedule of another owner,
     *     or of none, is never changed
     * @param prune whether schedules of this owner that are not declared are deleted
     * @return what was done, in the order in which they are declared, and then what was deleted
     * @throws JobQueueException.ScheduleExists a schedule has the name {@code metadata().get("schedule")} and is not of this
     *     owner, but of {@code metadata().get("owner")}; empty: of none
     * @throws JobQueueException.EtagMismatch other programs have changed a schedule meanwhile, 10 times
     * @throws JobQueueException.InvalidRequest as of {@link #create(NewSchedule)}
     * @throws JobQueueException.KindUnknown as of {@code create}
     * @throws JobQueueException.PayloadInvalid as of {@code create}
     * @throws JobQueueException.SchedulesFull as of {@code create}
     * @throws EncodingRequired as of {@code create}
     * @throws KeyUnknown as of {@code create}
     * @throws IllegalArgumentException two of them have one name, or the owner is empty; or as of {@code create}
     */
    public List<AppliedSchedule> apply(Collection<NewSchedule> declared, String owner, boolean prune) {
        return Futures.await(async.apply(declared, owner, prune));
    }

    /** {@link #delete(String, String)} whatever was changed. */
    public void delete(String name) {
        delete(name, "");
    }

    /**
     * Deletes a schedule with its runs. Its jobs stay.
     *
     * @param etag {@link Schedule#etag}: it is deleted only if it still has it; empty: whatever was changed since
     * @throws JobQueueException.ScheduleNotFound no schedule has this name
     * @throws JobQueueException.EtagMismatch the schedule was changed since its etag was read
     */
    public void delete(String name, String etag) {
        Futures.await(async.delete(name, etag));
    }

    /** {@link #pause(String, String)} without a note. */
    public Schedule pause(String name) {
        return pause(name, "");
    }

    /**
     * Stops a schedule until {@link #resume}: it has no ticks meanwhile. Its jobs go on.
     *
     * @param note why, for people; at most 255 characters
     * @throws JobQueueException.ScheduleNotFound no schedule has this name
     */
    public Schedule pause(String name, String note) {
        return Futures.await(async.pause(name, note));
    }

    /**
     * Lets a paused schedule go on with the first tick after now. What it missed is for {@link #backfill}.
     *
     * @throws JobQueueException.ScheduleNotFound no schedule has this name
     */
    public Schedule resume(String name) {
        return Futures.await(async.resume(name));
    }

    /** {@link #run(String, SchedulePolicy.Overlap, String)} as the policy has it; it is not tried again. */
    public ScheduleRun run(String name) {
        return Futures.await(async.run(name));
    }

    /**
     * Fires a schedule now, also a paused one. Its ticks stay as they are.
     *
     * @param overlap what becomes of it while a job of the schedule has not ended; UNSPECIFIED: as the policy has it
     * @param requestId a text of your own: the same call again is answered the run of the first; empty: none, and the call is
     *     not tried again when the server is away
     * @return what became of it; it may not have fired: look at its outcome
     * @throws JobQueueException.ScheduleNotFound no schedule has this name
     */
    public ScheduleRun run(String name, SchedulePolicy.Overlap overlap, String requestId) {
        return Futures.await(async.run(name, overlap, requestId));
    }

    /**
     * Fires all ticks of a span of the past, by an operation that goes on without this program. Those that have fired before
     * fire again.
     *
     * @throws JobQueueException.ScheduleNotFound no schedule has this name
     * @throws JobQueueException.InvalidRequest a field is malformed, such as an end in the future
     * @throws JobQueueException.RequestIdReused another request was made with this request id
     * @throws JobQueueException.ServersDiffer an older server runs, which does not know this operation
     */
    public Operation backfill(String name, Backfill backfill) {
        return Futures.await(async.backfill(name, backfill));
    }

    /**
     * What became of the ticks of a schedule and of its runs by hand, those that were decided last first, read page by page
     * as they are asked for.
     *
     * @throws JobQueueException.ScheduleNotFound no schedule has this name
     */
    public Stream<ScheduleRun> runs(String name) {
        return Pages.stream(token -> runsPage(name, 0, token), ScheduleRunPage::runs, ScheduleRunPage::nextPageToken);
    }

    /** One page of runs. Size 0: 50; above 1000: 1000. An empty token: the first page. */
    public ScheduleRunPage runsPage(String name, int pageSize, String pageToken) {
        return Futures.await(async.runsPage(name, pageSize, pageToken));
    }

    /** {@link #preview(ScheduleSpec, int, Instant)} after now. */
    public List<ScheduleTick> preview(ScheduleSpec spec, int count) {
        return Futures.await(async.preview(spec, count));
    }

    /**
     * Asks which ticks a spec has, without making a schedule.
     *
     * @param count how many ticks, 1..100; 0: 10
     * @param since ticks after this time
     * @return the ticks in their order; fewer than were asked for: the spec has no more of them within 10 years
     * @throws JobQueueException.InvalidRequest a field is malformed, such as a line of cron
     */
    public List<ScheduleTick> preview(ScheduleSpec spec, int count, Instant since) {
        return Futures.await(async.preview(spec, count, since));
    }
}
