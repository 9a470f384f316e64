import dev.jobqueue.JobKind;

class MailKinds {
    record Mail(String to, String subject, int copies) {
        Mail {
            subject = subject == null ? "" : subject;
        }
    }

    record MailV1(String address) {}

    record Sent(String messageId) {}

    static final JobKind<Mail, Sent> SEND_MAIL = JobKind.define("send-mail", Mail.class, Sent.class)
            .version(2)
            .upcast(1, MailV1.class, old -> new Mail(old.address(), null, 1))
            .build();
}
