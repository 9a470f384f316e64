package shop;

import dev.jobqueue.Client;
import dev.jobqueue.JobContext;
import dev.jobqueue.Json;
import dev.jobqueue.NewJob;
import dev.jobqueue.spring.JobHandler;
import java.nio.file.Files;
import java.nio.file.Path;
import org.springframework.jdbc.core.simple.JdbcClient;
import org.springframework.stereotype.Component;

/** One more handler of the shop, for tests: once it is let go on it uses the database, and enqueues by the client. */
@Component
class Slow {
    record Wait(String until) {}

    private final JdbcClient sql;
    private final Client client;

    Slow(JdbcClient sql, Client client) {
        this.sql = sql;
        this.client = client;
    }

    @JobHandler(kind = "shop-slow")
    String slow(Wait wait, JobContext context) throws InterruptedException {
        System.out.println("slow runs");
        while (!Files.exists(Path.of(wait.until()))) {
            Thread.sleep(20);
        }
        client.enqueue("shop-by-client", Json.of("1"));
        context.followUp(NewJob.of("shop-by-settlement"));
        return sql.sql("SELECT count(*) FROM orders").query(Integer.class).single() + " orders";
    }
}
