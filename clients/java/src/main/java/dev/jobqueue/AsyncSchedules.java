package dev.jobqueue;

import dev.jobqueue.v1.CreateScheduleRequest;
import dev.jobqueue.v1.CreateScheduleResponse;
import dev.jobqueue.v1.DeleteScheduleRequest;
import dev.jobqueue.v1.GetScheduleRequest;
import dev.jobqueue.v1.GetScheduleResponse;
import dev.jobqueue.v1.ListScheduleRunsRequest;
import dev.jobqueue.v1.PauseScheduleRequest;
import dev.jobqueue.v1.PauseScheduleResponse;
import dev.jobqueue.v1.PayloadFormat;
import dev.jobqueue.v1.PreviewScheduleRequest;
import dev.jobqueue.v1.ResumeScheduleRequest;
import dev.jobqueue.v1.ResumeScheduleResponse;
import dev.jobqueue.v1.RunScheduleRequest;
import dev.jobqueue.v1.SchedulesGrpc;
import dev.jobqueue.v1.UpdateScheduleResponse;
import java.time.Instant;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;

/**
 * The methods of {@link Schedules} without waiting: each answers a future, whose exception is a {@link JobQueueException}, or
 * what else the method there throws. Cancelling the future cancels the call. Made by {@link AsyncClient#schedules}.
 */
public final class AsyncSchedules {
    private static final PayloadFormat JSON = PayloadFormat.PAYLOAD_FORMAT_JSON;

    private final AsyncClient client;
    private final Codec codec;
    /** Null: there are none. */
    private final Encodings encodings;

    AsyncSchedules(AsyncClient client, Codec codec, Encodings encodings) {
        this.client = client;
        this.codec = codec;
        this.encodings = encodings;
    }

    /** See {@link Schedules#create(NewSchedule)}. */
    public CompletableFuture<Schedule> create(NewSchedule schedule) {
        return Futures.begun(
                () -> Futures.then(template(schedule.name(), schedule.job()), job -> create(schedule, job)));
    }

    private CompletableFuture<Schedule> create(NewSchedule schedule, dev.jobqueue.v1.NewJob job) {
        var made = dev.jobqueue.v1.Schedule.newBuilder()
                .setName(schedule.name())
                .setSpec(schedule.spec().message())
                .setJob(job)
                .setPolicy(schedule.policy().message())
                .putAllLabels(schedule.labels())
                .setPaused(schedule.paused());
        var request = CreateScheduleRequest.newBuilder()
                .setSchedule(made)
                .setPayloadFormat(JSON)
                .build();
        return read(
                client.call(SchedulesGrpc.getCreateScheduleMethod(), request, false),
                CreateScheduleResponse::getSchedule);
    }

    /** See {@link Schedules#get}. */
    public CompletableFuture<Schedule> get(String name) {
        var request = GetScheduleRequest.newBuilder()
                .setName(name)
                .setPayloadFormat(JSON)
                .build();
        return read(client.call(SchedulesGrpc.getGetScheduleMethod(), request, true), GetScheduleResponse::getSchedule);
    }

    /** See {@link Schedules#listPage}. */
    public CompletableFuture<SchedulePage> listPage(ScheduleFilter filter, String pageToken) {
        return Futures.map(
                client.call(SchedulesGrpc.getListSchedulesMethod(), filter.message(pageToken), true),
                answer -> new SchedulePage(
                        answer.getSchedulesList().stream().map(Schedule::of).toList(), answer.getNextPageToken()));
    }

    /** See {@link Schedules#update}. */
    public CompletableFuture<Schedule> update(String name, ScheduleChange change) {
        return Futures.begun(() -> begun(name, change));
    }

    private CompletableFuture<Schedule> begun(String name, ScheduleChange change) {
        var job = change.job();
        if (job == null) {
            return update(name, change, null);
        }
        // A job that was listed has no payload to encode.
        var template =
                job.payload() == null ? CompletableFuture.completedFuture(made(job.ruled(null))) : template(name, job);
        return Futures.then(template, made -> update(name, change, made));
    }

    private CompletableFuture<Schedule> update(String name, ScheduleChange change, dev.jobqueue.v1.NewJob template) {
        var request = change.message(name, template).setPayloadFormat(JSON).build();
        // A change that is made twice finds the etag of the first.
        return read(
                client.call(
                        SchedulesGrpc.getUpdateScheduleMethod(),
                        request,
                        change.etag().isEmpty()),
                UpdateScheduleResponse::getSchedule);
    }

    /** See {@link Schedules#apply(Collection, String)}. */
    public CompletableFuture<List<AppliedSchedule>> apply(Collection<NewSchedule> declared, String owner) {
        return apply(declared, owner, false);
    }

    /** See {@link Schedules#apply(Collection, String, boolean)}. */
    public CompletableFuture<List<AppliedSchedule>> apply(
            Collection<NewSchedule> declared, String owner, boolean prune) {
        return Futures.begun(() -> new Applying(this, declared, owner, prune).begin());
    }

    /** See {@link Schedules#delete(String)}. */
    public CompletableFuture<Void> delete(String name) {
        return delete(name, "");
    }

    /** See {@link Schedules#delete(String, String)}. */
    public CompletableFuture<Void> delete(String name, String etag) {
        var request =
                DeleteScheduleRequest.newBuilder().setName(name).setEtag(etag).build();
        return Futures.map(client.call(SchedulesGrpc.getDeleteScheduleMethod(), request, false), answer -> null);
    }

    /** See {@link Schedules#pause(String)}. */
    public CompletableFuture<Schedule> pause(String name) {
        return pause(name, "");
    }

    /** See {@link Schedules#pause(String, String)}. */
    public CompletableFuture<Schedule> pause(String name, String note) {
        var request = PauseScheduleRequest.newBuilder()
                .setName(name)
                .setNote(note)
                .setPayloadFormat(JSON)
                .build();
        return read(
                client.call(SchedulesGrpc.getPauseScheduleMethod(), request, true), PauseScheduleResponse::getSchedule);
    }

    /** See {@link Schedules#resume}. */
    public CompletableFuture<Schedule> resume(String name) {
        var request = ResumeScheduleRequest.newBuilder()
                .setName(name)
                .setPayloadFormat(JSON)
                .build();
        return read(
                client.call(SchedulesGrpc.getResumeScheduleMethod(), request, true),
                ResumeScheduleResponse::getSchedule);
    }

    /** See {@link Schedules#run(String)}. */
    public CompletableFuture<ScheduleRun> run(String name) {
        return run(name, SchedulePolicy.Overlap.UNSPECIFIED, "");
    }

    /** See {@link Schedules#run(String, SchedulePolicy.Overlap, String)}. */
    public CompletableFuture<ScheduleRun> run(String name, SchedulePolicy.Overlap overlap, String requestId) {
        var request = RunScheduleRequest.newBuilder()
                .setName(name)
                .setOverlap(overlap.message())
                .setRequestId(requestId)
                .build();
        return Futures.map(
                client.call(SchedulesGrpc.getRunScheduleMethod(), request, !requestId.isEmpty()),
                answer -> ScheduleRun.of(answer.getRun()));
    }

    /** See {@link Schedules#backfill}. */
    public CompletableFuture<Operation> backfill(String name, Backfill backfill) {
        var again = backfill.validateOnly() || !backfill.requestId().isEmpty();
        return Futures.map(
                client.call(SchedulesGrpc.getBackfillScheduleMethod(), backfill.message(name), again),
                answer -> Operation.of(answer.getOperation()));
    }

    /** See {@link Schedules#runsPage}. */
    public CompletableFuture<ScheduleRunPage> runsPage(String name, int pageSize, String pageToken) {
        var request = ListScheduleRunsRequest.newBuilder()
                .setName(name)
                .setPageSize(pageSize)
                .setPageToken(pageToken)
                .build();
        return Futures.map(
                client.call(SchedulesGrpc.getListScheduleRunsMethod(), request, true),
                answer -> new ScheduleRunPage(
                        answer.getRunsList().stream().map(ScheduleRun::of).toList(), answer.getNextPageToken()));
    }

    /** See {@link Schedules#preview(ScheduleSpec, int)}. */
    public CompletableFuture<List<ScheduleTick>> preview(ScheduleSpec spec, int count) {
        return preview(PreviewScheduleRequest.newBuilder().setSpec(spec.message()), count);
    }

    /** See {@link Schedules#preview(ScheduleSpec, int, Instant)}. */
    public CompletableFuture<List<ScheduleTick>> preview(ScheduleSpec spec, int count, Instant since) {
        var request =
                PreviewScheduleRequest.newBuilder().setSpec(spec.message()).setSince(Times.message(since));
        return preview(request, count);
    }

    private CompletableFuture<List<ScheduleTick>> preview(PreviewScheduleRequest.Builder request, int count) {
        return Futures.map(
                client.call(
                        SchedulesGrpc.getPreviewScheduleMethod(),
                        request.setCount(count).build(),
                        true),
                answer -> answer.getTicksList().stream().map(ScheduleTick::of).toList());
    }

    /** The schedule in what a call answers, its payload decoded where there are encodings. */
    private <A> CompletableFuture<Schedule> read(
            CompletableFuture<A> call, Function<A, dev.jobqueue.v1.Schedule> schedule) {
        return encodings == null
                ? Futures.map(call, answer -> Schedule.of(schedule.apply(answer)))
                : Futures.then(call, answer -> client.keyed(encodings.read(schedule.apply(answer))));
    }

    /** The job of a schedule as it is sent. The same job has the same bytes, so that it is no change. */
    private CompletableFuture<dev.jobqueue.v1.NewJob> template(String name, NewJob job) {
        return encodings == null || job.keyed()
                ? CompletableFuture.completedFuture(made(job))
                : client.keyed(encodings
                        .jobs(List.of(job), codec, at -> "schedule.job", "schedule " + name)
                        .thenApply(encoded -> made(encoded.get(0))));
    }

    private dev.jobqueue.v1.NewJob made(NewJob job) {
        if (job.keyed()) {
            throw Errors.invalid(
                    "schedule.job.idempotency_key", "can't be given: a tick enqueues one job in any case", null);
        }
        var template = job.message(codec, "schedule.job", false);
        if (template.hasRunAt() || template.hasDelay()) {
            var field = template.hasRunAt() ? "run_at" : "delay";
            throw Errors.invalid("schedule.job." + field, "can't be given: a tick is the time of its job", null);
        }
        return template;
    }
}
