package dev.jobqueue;

import io.grpc.ChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Optional;

/** Credentials of PEM files. */
public final class Tls {
    private Tls() {}

    /** Trusts the public authorities. */
    public static ChannelCredentials trustPublic() {
        return TlsChannelCredentials.create();
    }

    /** Trusts those who signed with these certificates. */
    public static ChannelCredentials trust(Path roots) {
        try {
            return TlsChannelCredentials.newBuilder()
                    .trustManager(roots.toFile())
                    .build();
        } catch (IOException error) {
            throw new UncheckedIOException("the certificates of " + roots + " can't be read", error);
        }
    }

    /** Trusts those who signed with these certificates, or where they are null the public authorities. */
    static ChannelCredentials of(Path roots, Optional<Path> certificate, Optional<Path> key) {
        if (certificate.isEmpty() || key.isEmpty()) {
            return roots == null ? trustPublic() : trust(roots);
        }
        if (roots != null) {
            return trust(roots, certificate.get(), key.get());
        }
        try {
            return TlsChannelCredentials.newBuilder()
                    .keyManager(certificate.get().toFile(), key.get().toFile())
                    .build();
        } catch (IOException error) {
            throw new UncheckedIOException("the certificates can't be read: " + error.getMessage(), error);
        }
    }

    /** The same, and shows a certificate where the server wants one. */
    public static ChannelCredentials trust(Path roots, Path certificate, Path key) {
        try {
            return TlsChannelCredentials.newBuilder()
                    .trustManager(roots.toFile())
                    .keyManager(certificate.toFile(), key.toFile())
                    .build();
        } catch (IOException error) {
            throw new UncheckedIOException("the certificates can't be read: " + error.getMessage(), error);
        }
    }
}
