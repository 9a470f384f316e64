package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.net.URI;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the types of a kind refuse, the compiler refuses. */
class TypesTest {
    @TempDir
    Path folder;

    private List<Long> errors(String statement) {
        var source =
                """
                import dev.jobqueue.*;
                class Program {
                    record Mail(String to) {}
                    record Sent(int id) {}
                    static final JobKind<Mail, Sent> MAIL =
                            JobKind.define("mail", Mail.class, Sent.class).build();
                    static void run(Enqueuer client, Worker worker, Job job, JobContext context) {
                        %s
                    }
                }
                """
                        .formatted(statement);
        var file = new SimpleJavaFileObject(URI.create("string:///Program.java"), JavaFileObject.Kind.SOURCE) {
            @Override
            public CharSequence getCharContent(boolean ignored) {
                return source;
            }
        };
        var found = new DiagnosticCollector<JavaFileObject>();
        var options = List.of("-cp", System.getProperty("java.class.path"), "-d", folder.toString());
        ToolProvider.getSystemJavaCompiler()
                .getTask(null, null, found, options, null, List.of(file))
                .call();
        return found.getDiagnostics().stream()
                .filter(each -> each.getKind() == Diagnostic.Kind.ERROR)
                .peek(each -> System.err.println(each.getMessage(Locale.ROOT)))
                .map(Diagnostic::getLineNumber)
                .toList();
    }

    @Test
    void whatFitsCompiles() {
        assertEquals(
                List.of(),
                errors(
                        """
                client.enqueue(MAIL.job(new Mail("ada")).priority(3).build());
                client.enqueue(MAIL, new Mail("ada"));
                worker.handle(MAIL, (mail, given) -> new Sent(mail.to().length()));
                worker.handle(MAIL, HandlerOptions.slots(2), (mail, given) -> new Sent(given.job().attempt()));
                context.followUp(MAIL.job(MAIL.payloadOf(job)).build());
                Sent sent = MAIL.outputOf(job);
                """));
    }

    @Test
    void whatDoesNotFitDoesNot() {
        for (var wrong : List.of(
                "client.enqueue(MAIL.job(\"ada\").build());",
                "client.enqueue(MAIL, new Sent(1));",
                "client.enqueue(MAIL.job(new Mail()).build());",
                "worker.handle(MAIL, (mail, given) -> new Mail(\"ada\"));",
                "worker.handle(MAIL, (mail, given) -> new Sent(mail.copies()));",
                "Mail mail = MAIL.outputOf(job);",
                "Sent sent = MAIL.payloadOf(job);")) {
            assertEquals(List.of(8L), errors(wrong), wrong);
        }
    }
}
