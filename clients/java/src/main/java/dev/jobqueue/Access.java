package dev.jobqueue;

import io.grpc.CallCredentials;
import io.grpc.CallOptions;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** How to speak to a server: what the builders of {@link Client} and {@link Worker} have in common. */
public abstract sealed class Access<B extends Access<B>> permits Client.Builder, Worker.Builder {
    // What batches and pages may measure (4 MiB) and room for the frame around them.
    private static final int MESSAGE_BYTES = 5 * 1024 * 1024;
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private ChannelCredentials transport = InsecureChannelCredentials.create();
    private CallCredentials token;
    private Codec codec = NoCodec.INSTANCE;
    private Consumer<ManagedChannelBuilder<?>> channels = builder -> {};
    private Observer observer;
    private Tracer tracer;
    private List<Middleware> middleware = List.of();
    private Encodings encodings;

    Access() {}

    abstract B self();

    /**
     * Speaks TLS, with the credentials of {@link Tls} or of grpc-java. Default: plain text.
     *
     * @param credentials what the server's certificate is checked against, and what this side shows
     */
    public B tls(ChannelCredentials credentials) {
        transport = Objects.requireNonNull(credentials, "credentials");
        return self();
    }

    /** Sends {@code authorization: Bearer <token>} with every call. */
    public B token(String token) {
        Objects.requireNonNull(token, "token");
        return token(() -> token);
    }

    /** Asks for the token at every call and every connect, for tokens that are renewed. It may block. */
    public B token(Supplier<String> source) {
        Objects.requireNonNull(source, "source");
        token = new CallCredentials() {
            @Override
            public void applyRequestMetadata(RequestInfo request, Executor executor, MetadataApplier applier) {
                executor.execute(() -> {
                    try {
                        var metadata = new Metadata();
                        metadata.put(AUTHORIZATION, "Bearer " + source.get());
                        applier.apply(metadata);
                    } catch (RuntimeException error) {
                        applier.fail(io.grpc.Status.UNAVAILABLE
                                .withDescription("no token could be had: " + error.getMessage())
                                .withCause(error));
                    }
                });
            }
        };
        return self();
    }

    /** Writes and reads what is no {@link Json}. */
    public B codec(Codec codec) {
        this.codec = Objects.requireNonNull(codec, "codec");
        return self();
    }

    /** Comes last to every channel, for interceptors and statistics. */
    public B channels(Consumer<ManagedChannelBuilder<?>> adjust) {
        channels = Objects.requireNonNull(adjust, "adjust");
        return self();
    }

    /** Is told of attempts, enqueues and sessions, for metrics and reports of errors. Default: none. */
    public B observer(Observer observer) {
        this.observer = Objects.requireNonNull(observer, "observer");
        return self();
    }

    /**
     * What goes around enqueues; of a worker around its handlers and their follow-ups. The first is the outermost one; they
     * replace those that were said before. Default: none.
     */
    public B middleware(Middleware... middleware) {
        return middleware(List.of(middleware));
    }

    /** {@link #middleware(Middleware...)} of a list. */
    public B middleware(List<? extends Middleware> middleware) {
        this.middleware = List.copyOf(middleware);
        return self();
    }

    /**
     * What payloads go through before they are sent, within all middleware, and back when they are read; of a worker outputs,
     * checkpoints and follow-ups too. Default: nothing is encoded or decoded.
     */
    public B encodings(Encodings encodings) {
        this.encodings = Objects.requireNonNull(encodings, "encodings");
        return self();
    }

    /** Null: there are none. */
    Encodings encodings() {
        return encodings;
    }

    List<Middleware> middleware() {
        return middleware;
    }

    /** TLS and the token that the environment names. */
    B credentials(Environment environment) {
        environment.tls().ifPresent(this::tls);
        environment.get("JOBQUEUE_TOKEN").ifPresent(this::token);
        return self();
    }

    /** Makes spans of a worker's attempts, and says which trace each call belongs to. Default: no traces. */
    public B tracer(Tracer tracer) {
        this.tracer = Objects.requireNonNull(tracer, "tracer");
        return self();
    }

    Codec codec() {
        return codec;
    }

    /** Null: there is none. */
    Observer observer() {
        return observer;
    }

    Connection connection() {
        return new Connection(transport, token, channels, tracer);
    }

    /** How to speak to a server, as it was when it was built; token and tracer may be null. */
    record Connection(
            ChannelCredentials transport,
            CallCredentials token,
            Consumer<ManagedChannelBuilder<?>> adjust,
            Tracer tracer) {
        /** Of each call of a client. */
        CallOptions options() {
            var options = CallOptions.DEFAULT.withCallCredentials(token);
            return tracer == null ? options : options.withOption(Calls.TRACER, tracer);
        }

        /** A connection of its own; nothing is sent before the first call. */
        ManagedChannel channel(String target) {
            var builder = Grpc.newChannelBuilder(target, transport)
                    // A dead connection is found 10 + 5 s after its last sign of life.
                    .keepAliveTime(10, TimeUnit.SECONDS)
                    .keepAliveTimeout(5, TimeUnit.SECONDS)
                    .keepAliveWithoutCalls(true)
                    .maxInboundMessageSize(MESSAGE_BYTES)
                    // Retries are made here, where it is known which calls do no harm twice.
                    .disableRetry();
            adjust.accept(builder);
            return builder.build();
        }
    }
}
