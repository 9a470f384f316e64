import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.Json;
import dev.jobqueue.Worker;

class MailJobs {
    public static void main(String[] arguments) {
        var server = arguments.length > 0 ? arguments[0] : "127.0.0.1:50051";
        var kind = MailKinds.SEND_MAIL;
        try (var client = Client.builder(server).codec(Codecs.jackson()).build();
                var worker = Worker.builder(server).codec(Codecs.jackson()).build()) {
            client.syncKinds(kind);
            worker.handle(kind, (mail, context) -> new MailKinds.Sent(mail.copies() + " for " + mail.to()));
            new Thread(worker::serve).start();
            var job = client.enqueue(kind, new MailKinds.Mail("ada@example.org", "Hello", 2));
            var older = client.enqueue("send-mail", Json.of("{\"address\": \"eve@example.org\"}"));
            System.out.println(kind.outputOf(client.waitFor(job.id())).messageId());
            System.out.println(kind.outputOf(client.waitFor(older.id())).messageId());
        }
    }
}
