import dev.jobqueue.AesGcm;
import dev.jobqueue.Encodings;
import dev.jobqueue.JobKind;
import dev.jobqueue.Zstd;
import java.util.HexFormat;
import java.util.Map;

class SecretMail {
    record Mail(String to) {}

    static final JobKind<Mail, Void> SEND_MAIL = JobKind.define("send-mail", Mail.class)
            .encodings(Encodings.Rule.REQUIRED)
            .build();

    static Encodings encodings() {
        var hex = HexFormat.of();
        var keys = Map.of("2026-10", hex.parseHex("aa".repeat(32)), "2026-11", hex.parseHex("bb".repeat(32)));
        return Encodings.of(new Zstd().over(2048), AesGcm.of(keys, "2026-11"));
    }
}
