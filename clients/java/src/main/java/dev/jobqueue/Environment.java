package dev.jobqueue;

import io.grpc.ChannelCredentials;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/** What the environment says of a server and how to speak to it: the names of the command line. Empty ones are not set. */
final class Environment {
    private final Map<String, String> values;

    Environment(Map<String, String> values) {
        this.values = values;
    }

    Optional<String> get(String name) {
        return Optional.ofNullable(values.get(name)).map(String::strip).filter(value -> !value.isEmpty());
    }

    String server() {
        return get("JOBQUEUE_SERVER").orElse("127.0.0.1:50051");
    }

    /** Empty: plain text. */
    Optional<ChannelCredentials> tls() {
        var roots = get("JOBQUEUE_TLS_ROOTS");
        var certificate = get("JOBQUEUE_TLS_CLIENT_CERT").map(Path::of);
        var key = get("JOBQUEUE_TLS_CLIENT_KEY").map(Path::of);
        if (certificate.isPresent() != key.isPresent()) {
            throw new IllegalArgumentException(
                    "JOBQUEUE_TLS_CLIENT_CERT and JOBQUEUE_TLS_CLIENT_KEY go together: one of them is not set");
        }
        if (roots.isEmpty() && certificate.isPresent()) {
            throw new IllegalArgumentException(
                    "JOBQUEUE_TLS_CLIENT_CERT needs JOBQUEUE_TLS_ROOTS: a PEM file, or public");
        }
        return roots.map(each -> Tls.of(each.equals("public") ? null : Path.of(each), certificate, key));
    }
}
