package dev.jobqueue.spring;

import dev.jobqueue.Access;
import dev.jobqueue.Codec;
import dev.jobqueue.Encodings;
import dev.jobqueue.Middleware;
import dev.jobqueue.Observer;
import dev.jobqueue.Tls;
import dev.jobqueue.Tracer;
import io.grpc.ChannelCredentials;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.util.StringUtils;

/** What the client and workers have in common: the server, and the beans that go around jobs. */
record Connecting(
        JobQueueProperties properties,
        ObjectProvider<Codec> codec,
        ObjectProvider<Middleware> middleware,
        ObjectProvider<Encodings> encodings,
        ObjectProvider<Observer> observers,
        ObjectProvider<Tracer> tracer) {
    <B extends Access<B>> void to(B builder) {
        var tls = properties.tls();
        if (StringUtils.hasText(tls.roots())
                || StringUtils.hasText(tls.clientCert())
                || StringUtils.hasText(tls.clientKey())) {
            builder.tls(credentials(tls));
        }
        if (StringUtils.hasText(properties.token())) {
            builder.token(properties.token());
        }
        codec.ifAvailable(builder::codec);
        builder.middleware(middleware.orderedStream().toList());
        encodings.ifAvailable(builder::encodings);
        tracer.ifAvailable(builder::tracer);
        var told = observers.orderedStream().toList();
        if (!told.isEmpty()) {
            builder.observer(told.size() == 1 ? told.get(0) : new Observers(told));
        }
    }

    private static ChannelCredentials credentials(JobQueueProperties.Tls tls) {
        var shows = StringUtils.hasText(tls.clientCert());
        if (shows != StringUtils.hasText(tls.clientKey())) {
            throw new IllegalArgumentException(
                    "jobqueue.tls.client-cert and jobqueue.tls.client-key go together: one of them is not set");
        }
        if (!StringUtils.hasText(tls.roots())) {
            throw new IllegalArgumentException(
                    "jobqueue.tls.client-cert needs jobqueue.tls.roots: a PEM file, or public");
        }
        if (!tls.roots().equals("public")) {
            var roots = Path.of(tls.roots());
            return shows ? Tls.trust(roots, Path.of(tls.clientCert()), Path.of(tls.clientKey())) : Tls.trust(roots);
        }
        if (!shows) {
            return Tls.trustPublic();
        }
        try {
            return TlsChannelCredentials.newBuilder()
                    .keyManager(new File(tls.clientCert()), new File(tls.clientKey()))
                    .build();
        } catch (IOException error) {
            throw new UncheckedIOException("the certificate of jobqueue.tls can't be read", error);
        }
    }
}
