package dev.jobqueue;

import com.google.longrunning.CancelOperationRequest;
import com.google.longrunning.DeleteOperationRequest;
import com.google.longrunning.GetOperationRequest;
import com.google.longrunning.ListOperationsRequest;
import com.google.longrunning.ListOperationsResponse;
import com.google.longrunning.WaitOperationRequest;
import com.google.protobuf.Empty;
import com.google.protobuf.Message;
import io.grpc.MethodDescriptor;
import io.grpc.protobuf.ProtoUtils;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/** Calls the service google.longrunning.Operations, of which no artifact that the client needs has stubs. */
final class Operations {
    private static final String SERVICE = "google.longrunning.Operations";
    private static final MethodDescriptor<GetOperationRequest, com.google.longrunning.Operation> GET = method(
            "GetOperation",
            GetOperationRequest.getDefaultInstance(),
            com.google.longrunning.Operation.getDefaultInstance());
    private static final MethodDescriptor<ListOperationsRequest, ListOperationsResponse> LIST = method(
            "ListOperations", ListOperationsRequest.getDefaultInstance(), ListOperationsResponse.getDefaultInstance());
    private static final MethodDescriptor<WaitOperationRequest, com.google.longrunning.Operation> WAIT = method(
            "WaitOperation",
            WaitOperationRequest.getDefaultInstance(),
            com.google.longrunning.Operation.getDefaultInstance());
    private static final MethodDescriptor<CancelOperationRequest, Empty> CANCEL =
            method("CancelOperation", CancelOperationRequest.getDefaultInstance(), Empty.getDefaultInstance());
    private static final MethodDescriptor<DeleteOperationRequest, Empty> DELETE =
            method("DeleteOperation", DeleteOperationRequest.getDefaultInstance(), Empty.getDefaultInstance());
    // The longest that one call of WaitOperation waits; more is done by calling again.
    private static final Duration ONE_WAIT = Duration.ofSeconds(30);
    // An operation may name 1000 jobs, and so have 40 KB.
    private static final int PAGE = 50;

    private final AsyncClient client;

    Operations(AsyncClient client) {
        this.client = client;
    }

    private static <Q extends Message, A extends Message> MethodDescriptor<Q, A> method(
            String name, Q request, A answer) {
        return MethodDescriptor.<Q, A>newBuilder()
                .setType(MethodDescriptor.MethodType.UNARY)
                .setFullMethodName(MethodDescriptor.generateFullMethodName(SERVICE, name))
                .setRequestMarshaller(ProtoUtils.marshaller(request))
                .setResponseMarshaller(ProtoUtils.marshaller(answer))
                .build();
    }

    CompletableFuture<Operation> get(String name) {
        var request = GetOperationRequest.newBuilder().setName(name).build();
        return Futures.map(client.call(GET, request, true), Operation::of);
    }

    CompletableFuture<List<Operation>> list() {
        return client.pages(token -> {
            var request = ListOperationsRequest.newBuilder()
                    .setName("operations")
                    .setPageSize(PAGE)
                    .setPageToken(token)
                    .build();
            return Futures.map(client.call(LIST, request, true), answer -> {
                var operations =
                        answer.getOperationsList().stream().map(Operation::of).toList();
                return Map.entry(operations, answer.getNextPageToken());
            });
        });
    }

    CompletableFuture<Operation> waitFor(String name, Duration timeout) {
        var result = new CompletableFuture<Operation>();
        waitAgain(name, System.nanoTime() + Times.nanosOf(timeout), result);
        return result;
    }

    private void waitAgain(String name, long ends, CompletableFuture<Operation> result) {
        var left = Math.max(0, ends - System.nanoTime());
        var wait = Duration.ofNanos(Math.min(ONE_WAIT.toNanos(), left));
        var request = WaitOperationRequest.newBuilder()
                .setName(name)
                .setTimeout(Times.message(wait))
                .build();
        // Time for the answer to come back, after the server has waited.
        var call = client.callWithin(WAIT, request, wait);
        Futures.cancelWith(result, call);
        call.whenComplete((answer, error) -> {
            try {
                if (error != null) {
                    result.completeExceptionally(error);
                } else if (answer.getDone() || System.nanoTime() - ends >= 0) {
                    result.complete(Operation.of(answer));
                } else if (!result.isDone()) {
                    waitAgain(name, ends, result);
                }
            } catch (Throwable failure) {
                // An answer that can't be read must not leave the caller waiting.
                result.completeExceptionally(failure);
            }
        });
    }

    CompletableFuture<Void> cancel(String name) {
        var request = CancelOperationRequest.newBuilder().setName(name).build();
        return Futures.map(client.call(CANCEL, request, true), answer -> null);
    }

    CompletableFuture<Void> delete(String name) {
        // To delete one again is refused, and done.
        var request = DeleteOperationRequest.newBuilder().setName(name).build();
        return Futures.map(client.call(DELETE, request, false), answer -> null);
    }
}
