package dev.jobqueue;

import com.google.protobuf.ByteString;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/**
 * What a worker's encodings do for the jobs of one handler. Used where it has some.
 *
 * @param encodings the worker's
 * @param own whether payloads, outputs and checkpoints of the kind are encoded; its follow-ups may be in any case
 * @param required whether payloads of the kind must be encrypted, whatever a server was told of its names
 */
record Coding(Encodings encodings, boolean own, boolean required) {
    static Coding of(Encodings encodings, Encodings.Rule rule) {
        return new Coding(encodings, rule != Encodings.Rule.NEVER, rule == Encodings.Rule.REQUIRED);
    }

    /** A handler with encodings around it, and around its middleware. */
    Handlers.Entry around(Handlers.Entry entry) {
        // A thread is the handler's own here, and may wait for a key.
        Handler plain =
                entry.plain() == null ? null : (job, context) -> entry.plain().run(begin(job, context), context);
        AsyncHandler async =
                entry.async() == null ? null : (job, context) -> entry.async().run(begin(job, context), context);
        return new Handlers.Entry(plain, async, entry.options(), entry.source(), this);
    }

    /**
     * Decodes the job of an attempt, and lets what comes of it be encoded.
     *
     * @throws Discard it can't be decoded by any key, or is in plain text and must not be; from PayloadUnreadable. The job
     *     keeps its payload.
     * @throws Snooze a key or an encoding is not here: it may come
     * @throws KeyUnknown the same, and it has not come for long
     * @throws EncodingUnknown the same of an encoding
     * @throws Cancelled the job was told to stop while a key was waited for
     * @throws Exception what a function for keys throws
     */
    LeasedJob begin(LeasedJob job, JobContext context) throws Exception {
        try {
            var sealer = waited(encodings.sealer(), context);
            var opened = own ? opened(job, context) : job;
            context.begun(opened, new Begun(this, sealer, job));
            return opened;
        } catch (Undecodable error) {
            throw new Discard(new PayloadUnreadable(error.getMessage()));
        } catch (KeyUnknown | EncodingUnknown error) {
            var later = JobKind.later(job);
            if (later != null) {
                throw later;
            }
            throw error;
        }
    }

    private LeasedJob opened(LeasedJob job, JobContext context) throws Exception {
        var message = job.message().toBuilder();
        if (!message.getPayloadJson().isEmpty() || required) {
            var place = Place.payload(message.getKind());
            message.setPayloadJson(waited(encodings.opened(message.getPayloadJson(), place, required), context));
        }
        if (!message.getCheckpoint().isEmpty()) {
            var place = Place.checkpoint(message.getKind(), message.getId());
            message.setCheckpoint(waited(encodings.opened(message.getCheckpoint(), place, false), context));
        }
        return new LeasedJob(message.build(), job.codec(), true);
    }

    private ByteString opened(ByteString text, Place place) throws Exception {
        return waited(encodings.opened(text, place, false));
    }

    /** The same for as long as the job is not told to stop, also where its handler is not interrupted. */
    private static <A> A waited(CompletableFuture<A> future, JobContext context) throws Exception {
        if (!future.isDone()) {
            CompletableFuture.anyOf(future.handle((found, error) -> found), context.cancelled())
                    .get();
            if (!future.isDone()) {
                context.throwIfCancelled();
            }
        }
        return waited(future);
    }

    private static <A> A waited(CompletableFuture<A> future) throws Exception {
        try {
            return future.get();
        } catch (ExecutionException error) {
            var cause = Endings.unwrapped(error);
            if (cause instanceof Error grave) {
                throw grave;
            }
            throw cause instanceof Exception failure ? failure : error;
        }
    }

    /** Encodes the payload and the checkpoint of a job, as its producer and its attempts do. For tests of users. */
    dev.jobqueue.v1.LeasedJob seal(dev.jobqueue.v1.LeasedJob message) throws Exception {
        if (!own) {
            return message;
        }
        var sealer = waited(encodings.sealer());
        var payload = sealer.sealed(message.getPayloadJson(), Place.payload(message.getKind()), null);
        return message.toBuilder()
                .setPayloadJson(payload)
                .setCheckpoint(checkpoint(sealer, message.getCheckpoint(), message.getKind(), message.getId()))
                .build();
    }

    /** Decodes a checkpoint that an attempt left. For tests of users. */
    ByteString openCheckpoint(ByteString data, LeasedJob job) throws Exception {
        return own ? opened(data, Place.checkpoint(job.kind(), job.id())) : data;
    }

    /** Decodes what came of an attempt. For tests of users. */
    dev.jobqueue.v1.Outcome open(dev.jobqueue.v1.Outcome outcome, LeasedJob job) throws Exception {
        if (!outcome.hasSuccess()) {
            return outcome;
        }
        var success = outcome.getSuccess().toBuilder();
        if (own && success.hasOutputJson()) {
            success.setOutputJson(opened(success.getOutputJson(), Place.output(job.kind(), job.id())));
        }
        for (var each : success.getFollowUpsBuilderList()) {
            each.setPayloadJson(opened(each.getPayloadJson(), Place.payload(each.getKind())));
        }
        return outcome.toBuilder().setSuccess(success).build();
    }

    /** An empty one stays so: it takes away what is stored. */
    private static ByteString checkpoint(Sealer sealer, ByteString data, String kind, String id) {
        return data.isEmpty() ? data : sealer.sealed(data, Place.checkpoint(kind, id), null);
    }

    /** An attempt whose job was decoded, and which encodes with the key that was the primary one at its beginning. */
    static final class Begun {
        private final Coding coding;
        private final Sealer sealer;
        private final LeasedJob job;
        /** Of each follow-up; null: its kind says nothing. Guarded by the context. */
        final List<Encodings.Rule> rules = new ArrayList<>(0);

        Begun(Coding coding, Sealer sealer, LeasedJob job) {
            this.coding = coding;
            this.sealer = sealer;
            this.job = job;
        }

        ByteString output(ByteString text) {
            return coding.own() ? sealer.sealed(text, Place.output(job.kind(), job.id()), null) : text;
        }

        ByteString checkpoint(ByteString data) {
            return coding.own() ? Coding.checkpoint(sealer, data, job.kind(), job.id()) : data;
        }

        /** The follow-ups as middleware has left them, encoded. */
        List<dev.jobqueue.v1.NewJob> followUps(List<dev.jobqueue.v1.NewJob> messages) {
            var sealed = new ArrayList<dev.jobqueue.v1.NewJob>(messages.size());
            for (var each : messages) {
                var job = NewJob.of(each).ruled(rules.get(sealed.size()));
                sealed.add(coding.encodings()
                        .sealed(sealer, job, NoCodec.INSTANCE, "follow_up", null)
                        .message());
            }
            JobContext.checkSize(sealed);
            return sealed;
        }
    }
}
