package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import dev.jobqueue.AppliedSchedule.Done;
import dev.jobqueue.v1.CreateScheduleRequest;
import dev.jobqueue.v1.CreateScheduleResponse;
import dev.jobqueue.v1.DeleteScheduleRequest;
import dev.jobqueue.v1.DeleteScheduleResponse;
import dev.jobqueue.v1.GetScheduleRequest;
import dev.jobqueue.v1.GetScheduleResponse;
import dev.jobqueue.v1.ListSchedulesRequest;
import dev.jobqueue.v1.ListSchedulesResponse;
import dev.jobqueue.v1.SchedulesGrpc;
import dev.jobqueue.v1.UpdateScheduleRequest;
import dev.jobqueue.v1.UpdateScheduleResponse;
import io.grpc.Context;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What a program makes of its schedules where others come between, by a server whose every answer the test says. */
@Timeout(30)
class ApplyingTest {
    private static final NewSchedule DECLARED =
            NewSchedule.of("a", ScheduleSpec.cron("0 0 1 1 *"), NewJob.of("k", Json.of("1")));
    private static final Object DELETED = new Object();
    private static final Object SILENCE = new Object();

    private final BlockingQueue<Message> asked = new LinkedBlockingQueue<>();
    /** What is answered, in their order: a schedule, a page, the reason of a refusal, DELETED, or SILENCE. */
    private final BlockingQueue<Object> answers = new LinkedBlockingQueue<>();

    private final CompletableFuture<Void> cancelled = new CompletableFuture<>();
    private final ScriptedServer server = new ScriptedServer(new Answering());
    private final Client client = Client.of(server.address());

    @AfterEach
    void end() {
        client.close();
        server.close();
    }

    private final class Answering extends SchedulesGrpc.SchedulesImplBase {
        @Override
        public void getSchedule(GetScheduleRequest request, StreamObserver<GetScheduleResponse> answer) {
            answer(request, answer, given -> GetScheduleResponse.newBuilder()
                    .setSchedule((dev.jobqueue.v1.Schedule) given)
                    .build());
        }

        @Override
        public void createSchedule(CreateScheduleRequest request, StreamObserver<CreateScheduleResponse> answer) {
            answer(request, answer, given -> CreateScheduleResponse.newBuilder()
                    .setSchedule((dev.jobqueue.v1.Schedule) given)
                    .build());
        }

        @Override
        public void updateSchedule(UpdateScheduleRequest request, StreamObserver<UpdateScheduleResponse> answer) {
            answer(request, answer, given -> UpdateScheduleResponse.newBuilder()
                    .setSchedule((dev.jobqueue.v1.Schedule) given)
                    .build());
        }

        @Override
        public void deleteSchedule(DeleteScheduleRequest request, StreamObserver<DeleteScheduleResponse> answer) {
            answer(request, answer, given -> DeleteScheduleResponse.getDefaultInstance());
        }

        @Override
        public void listSchedules(ListSchedulesRequest request, StreamObserver<ListSchedulesResponse> answer) {
            answer(request, answer, given -> (ListSchedulesResponse) given);
        }

        private <A> void answer(Message request, StreamObserver<A> answer, Function<Object, A> message) {
            asked.add(request);
            var given = answers.remove();
            if (given instanceof String reason) {
                answer.onError(refusal(reason));
            } else if (given == SILENCE) {
                Context.current().addListener(context -> cancelled.complete(null), Runnable::run);
            } else {
                answer.onNext(message.apply(given));
                answer.onCompleted();
            }
        }
    }

    private static RuntimeException refusal(String reason) {
        var info = ErrorInfo.newBuilder().setReason(reason).putMetadata("schedule", "a");
        return StatusProto.toStatusRuntimeException(com.google.rpc.Status.newBuilder()
                .setCode(Code.ABORTED_VALUE)
                .setMessage("no")
                .addDetails(Any.pack(info.build()))
                .build());
    }

    private static dev.jobqueue.v1.Schedule schedule(String name, String owner, String etag) {
        return dev.jobqueue.v1.Schedule.newBuilder()
                .setName(name)
                .putLabels("jobqueue.owner", owner)
                .setEtag(etag)
                .build();
    }

    private void answers(Object... more) {
        answers.addAll(List.of(more));
    }

    private <A> Stream<A> asked(Class<A> type) {
        return asked.stream().filter(type::isInstance).map(type::cast);
    }

    @Test
    void whereAnotherProgramComesBetweenAScheduleIsReadAnewAndChangedByItsNewEtag() {
        answers("SCHEDULE_NOT_FOUND", "SCHEDULE_EXISTS");
        answers(schedule("a", "us", "1"), "ETAG_MISMATCH");
        answers(schedule("a", "us", "2"), "SCHEDULE_NOT_FOUND");
        answers(schedule("a", "us", "3"), schedule("a", "us", "4"));
        var done = client.schedules().apply(List.of(DECLARED), "us");
        assertEquals(1, done.size());
        assertEquals(Done.CHANGED, done.get(0).done());
        assertEquals("4", done.get(0).schedule().etag());
        assertEquals(
                List.of("1", "2", "3"),
                asked(UpdateScheduleRequest.class)
                        .map(each -> each.getSchedule().getEtag())
                        .toList());
        assertEquals(8, asked.size());
    }

    @Test
    void afterTenTriesThatWaitInBetweenTheErrorIsThatOfTheLast() {
        IntStream.range(0, 11).forEach(i -> answers(schedule("a", "us", "1"), "ETAG_MISMATCH"));
        var began = System.nanoTime();
        assertThrows(
                JobQueueException.EtagMismatch.class, () -> client.schedules().apply(List.of(DECLARED), "us"));
        assertEquals(20, asked.size());
        // 20 ms each at least.
        assertTrue(System.nanoTime() - began >= Duration.ofMillis(180).toNanos());
    }

    @Test
    void anotherOwnersScheduleIsNotTriedAgainAndWhatComesAfterItIsLeft() {
        answers(schedule("a", "them", "1"));
        var next = NewSchedule.of("b", DECLARED.spec(), DECLARED.job());
        var error = assertThrows(JobQueueException.ScheduleExists.class, () -> client.schedules()
                .apply(List.of(DECLARED, next), "us", true));
        assertEquals("SCHEDULE_EXISTS: the schedule a is of them", error.getMessage());
        assertEquals("a", error.metadata().get("schedule"));
        assertEquals("them", error.metadata().get("owner"));
        assertEquals(1, asked.size());
    }

    @Test
    void aRefusalOfAnotherSortIsNotTriedAgain() {
        answers("SCHEDULE_NOT_FOUND", "KIND_UNKNOWN");
        assertThrows(
                JobQueueException.KindUnknown.class, () -> client.schedules().apply(List.of(DECLARED), "us"));
        assertEquals(2, asked.size());
        answers(page("", schedule("old", "us", "1")), "NAMESPACE_DISABLED");
        assertThrows(JobQueueException.NamespaceDisabled.class, () -> client.schedules()
                .apply(List.of(), "us", true));
    }

    private static ListSchedulesResponse page(String next, dev.jobqueue.v1.Schedule... schedules) {
        return ListSchedulesResponse.newBuilder()
                .addAllSchedules(List.of(schedules))
                .setNextPageToken(next)
                .build();
    }

    @Test
    void whatWasChangedOrDeletedSinceItWasListedIsNotDeleted() {
        answers(page("t", schedule("changed", "us", "1"), schedule("gone", "us", "2")));
        answers(page("", schedule("old", "us", "3")));
        answers("ETAG_MISMATCH", "SCHEDULE_NOT_FOUND", DELETED);
        var done = client.schedules().apply(List.of(), "us", true);
        assertEquals(1, done.size());
        assertEquals(Done.DELETED, done.get(0).done());
        assertEquals("old", done.get(0).schedule().name());
        assertEquals(
                List.of("", "t"),
                asked(ListSchedulesRequest.class)
                        .map(ListSchedulesRequest::getPageToken)
                        .toList());
        assertTrue(asked(ListSchedulesRequest.class)
                .allMatch(each -> each.getLabelsList().equals(List.of("jobqueue.owner=us"))));
        assertEquals(
                List.of("changed 1", "gone 2", "old 3"),
                asked(DeleteScheduleRequest.class)
                        .map(each -> each.getName() + " " + each.getEtag())
                        .toList());
    }

    @Test
    void aJobWithoutAPayloadIsSentWithOneThatIsNullSoThatAChangeOfItIsTaken() {
        var bare = NewSchedule.of("a", DECLARED.spec(), NewJob.of("k"));
        answers(schedule("a", "us", "1"), schedule("a", "us", "1"));
        var done = client.schedules().apply(List.of(bare), "us");
        assertEquals(Done.UNCHANGED, done.get(0).done());
        var sent = asked(UpdateScheduleRequest.class).findFirst().orElseThrow();
        assertEquals("null", sent.getSchedule().getJob().getPayloadJson().toStringUtf8());
    }

    @Test
    void whatIsDeclaredTwiceOrWithoutAnOwnerIsRefusedBeforeAnyCall() {
        var schedules = client.schedules();
        var error =
                assertThrows(IllegalArgumentException.class, () -> schedules.apply(List.of(DECLARED, DECLARED), "us"));
        assertEquals("two schedules have one name: a", error.getMessage());
        error = assertThrows(IllegalArgumentException.class, () -> schedules.apply(List.of(DECLARED), "", true));
        assertTrue(error.getMessage().startsWith("owner is empty"), error.getMessage());
        var failed = client.async().schedules().apply(List.of(DECLARED), "");
        assertInstanceOf(
                IllegalArgumentException.class,
                assertThrows(CompletionException.class, failed::join).getCause());
        assertEquals(0, asked.size());
    }

    @Test
    void cancellingTheFutureCancelsTheCallAndThoseAfterItAreNotMade() throws Exception {
        answers(SILENCE);
        var future = client.async().schedules().apply(List.of(DECLARED), "us", true);
        asked.take();
        future.cancel(true);
        cancelled.get(10, TimeUnit.SECONDS);
        // Any call after it would find no answer here, and fail.
        Thread.sleep(100);
        assertEquals(0, asked.size());
    }
}
