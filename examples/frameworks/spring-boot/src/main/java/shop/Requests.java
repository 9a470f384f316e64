package shop;

import static java.util.stream.Collectors.toMap;

import dev.jobqueue.Client;
import dev.jobqueue.FieldViolation;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.Status;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.dao.DuplicateKeyException;
import org.springframework.http.HttpStatus;
import org.springframework.http.ProblemDetail;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.server.ResponseStatusException;

@RestController
class Requests {
    private static final Logger LOG = LoggerFactory.getLogger(Requests.class);

    private final Client client;
    private final Orders orders;

    Requests(Client client, Orders orders) {
        this.client = client;
        this.orders = orders;
    }

    /** Answers when the job is committed. The same Idempotency-Key again is the same job. */
    @PostMapping("/receipts")
    @ResponseStatus(HttpStatus.ACCEPTED)
    Map<String, String> send(
            @RequestBody Receipts.Order order, @RequestHeader(name = "Idempotency-Key", defaultValue = "") String key) {
        var job = Receipts.SEND_RECEIPT.job(order).idempotencyKey(key);
        return Map.of("job", client.enqueue(job.build()).id());
    }

    @PostMapping("/orders")
    @ResponseStatus(HttpStatus.ACCEPTED)
    Map<String, Boolean> place(@RequestBody Receipts.Order order) {
        try {
            orders.place(order);
            return Map.of("receipt", true);
        } catch (JobQueueException error) {
            // The order is stored. The caller must not be told that it is not.
            LOG.error("the order {} may have no receipt", order.number(), error);
            return Map.of("receipt", false);
        }
    }

    @GetMapping("/receipts/{id}")
    Map<String, String> read(@PathVariable String id) {
        var job = client.get(id);
        if (!job.kind().equals(Receipts.SEND_RECEIPT.name())) { // any job of the namespace has an id
            throw new ResponseStatusException(HttpStatus.NOT_FOUND);
        }
        var text = job.status() == Status.SUCCEEDED
                ? Receipts.SEND_RECEIPT.outputOf(job).text()
                : "";
        return Map.of("status", job.status().name(), "text", text);
    }

    @ExceptionHandler
    ProblemDetail unprocessable(JobQueueException.PayloadInvalid error) {
        var problem = ProblemDetail.forStatus(HttpStatus.UNPROCESSABLE_CONTENT);
        problem.setProperty(
                "fields",
                error.violations().stream().collect(toMap(FieldViolation::field, FieldViolation::description)));
        return problem;
    }

    @ExceptionHandler
    ProblemDetail reused(JobQueueException.IdempotencyKeyReused error) {
        return ProblemDetail.forStatusAndDetail(HttpStatus.CONFLICT, "this Idempotency-Key came with another order");
    }

    @ExceptionHandler({
        JobQueueException.Unavailable.class,
        JobQueueException.Overloaded.class,
        JobQueueException.DeadlineExceeded.class
    })
    ProblemDetail away() {
        return ProblemDetail.forStatusAndDetail(HttpStatus.SERVICE_UNAVAILABLE, "try again in a moment");
    }

    @ExceptionHandler
    ProblemDetail missing(JobQueueException.JobNotFound error) {
        return ProblemDetail.forStatus(HttpStatus.NOT_FOUND);
    }

    @ExceptionHandler
    ProblemDetail twice(DuplicateKeyException error) {
        return ProblemDetail.forStatusAndDetail(HttpStatus.CONFLICT, "this order is placed already");
    }
}
