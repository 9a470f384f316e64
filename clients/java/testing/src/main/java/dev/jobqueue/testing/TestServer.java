package dev.jobqueue.testing;

import dev.jobqueue.Client;
import dev.jobqueue.internal.TestHooks;
import dev.jobqueue.v1.Access.Permission;
import dev.jobqueue.v1.AccessAdminGrpc;
import dev.jobqueue.v1.CreateKeyRequest;
import dev.jobqueue.v1.CreateNamespaceRequest;
import dev.jobqueue.v1.DisableNamespaceRequest;
import dev.jobqueue.v1.Grant;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/**
 * A real server, for tests that share it: each has a namespace of its own, a {@link TestScope}, so they do not see each
 * other's jobs.
 *
 * <p>It is found in this order; nothing is downloaded. {@code JOBQUEUE_TEST_SERVER}: the address of one that runs, with the
 * key of an administrator in {@code JOBQUEUE_TEST_KEY}. {@code JOBQUEUE_SERVER_COMMAND}: what is run, with {@code ephemeral}
 * behind it. {@code jobqueue-server} on PATH.
 *
 * <p>Where {@code JOBQUEUE_TEST_SHARED} is set, and not empty or 0, all processes of one user that start one so have the
 * same: it is started with {@code --shared}, and ends when the last of them has left.
 *
 * <p>A server that was started ends by {@link #close}, and with this process in whatever way that ends.
 */
public final class TestServer implements AutoCloseable {
    private static final int START_WITHIN_SECONDS = 120;
    // So many characters of its line an error shows.
    private static final int SHOWN = 200;
    private static final Pattern WORD = Pattern.compile("\"([^\"]*)\"|'([^']*)'|(\\S+)");
    private static final String MISSING =
            """
            there is no server for tests. One of these makes one known:
              uv tool install 'jobqueue-server[embedded]'        a server is started, and ends with the tests (Linux)
              JOBQUEUE_SERVER_COMMAND='/opt/jq/jobqueue-server'  the same, by that command
              JOBQUEUE_TEST_SERVER=127.0.0.1:50051               one that runs, such as a container of it
              JOBQUEUE_TEST_KEY=jq_...                           and the key of an administrator, where it asks for keys""";

    private final String target;
    private final String key;
    /** Null: it was not started here. */
    private final Process process;

    private final Client client;

    private TestServer(String target, String key, Process process) {
        this.target = target;
        this.key = key;
        this.process = process;
        var builder = Client.builder(target);
        client = (key.isEmpty() ? builder : builder.token(key)).build();
    }

    /** One that runs, by its address, with an administrator's key; empty: it asks for none. */
    public static TestServer of(String target, String key) {
        return new TestServer(target, key, null);
    }

    /**
     * Finds or starts it. Starting takes some seconds.
     *
     * @throws ServerMissing there is none, or it does not start
     */
    public static TestServer start() {
        return start(System.getenv());
    }

    static TestServer start(Map<String, String> environment) {
        var target = environment.getOrDefault("JOBQUEUE_TEST_SERVER", "");
        if (!target.isEmpty()) {
            return of(target, environment.getOrDefault("JOBQUEUE_TEST_KEY", ""));
        }
        var command = new ArrayList<>(command(environment));
        command.add("ephemeral");
        if (!List.of("", "0").contains(environment.getOrDefault("JOBQUEUE_TEST_SHARED", ""))) {
            command.add("--shared");
        }
        var words = String.join(" ", command);
        Process process;
        try {
            process = new ProcessBuilder(command)
                    .redirectError(ProcessBuilder.Redirect.INHERIT)
                    .start();
        } catch (IOException error) {
            throw new ServerMissing(words + " can't be started: " + error.getMessage(), error);
        }
        var overdue = CompletableFuture.delayedExecutor(START_WITHIN_SECONDS, TimeUnit.SECONDS);
        var answered = new CompletableFuture<Void>();
        overdue.execute(() -> {
            if (!answered.isDone()) {
                process.destroyForcibly();
            }
        });
        try {
            var line = process.inputReader(StandardCharsets.UTF_8).readLine();
            answered.complete(null);
            if (line == null) {
                throw new ServerMissing(
                        ("%s ended with %d before it answered; its words are above. A server that does not know"
                                        + " `ephemeral` is too old for this client")
                                .formatted(words, process.waitFor()),
                        null);
            }
            return new TestServer(said(words, line, "grpc"), said(words, line, "key"), process);
        } catch (RuntimeException error) {
            process.destroyForcibly();
            throw error;
        } catch (IOException error) {
            process.destroyForcibly();
            throw new UncheckedIOException(error);
        } catch (InterruptedException error) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
            throw new ServerMissing("interrupted while " + words + " was awaited", error);
        }
    }

    private static List<String> command(Map<String, String> environment) {
        var given = environment.getOrDefault("JOBQUEUE_SERVER_COMMAND", "");
        if (!given.isEmpty()) {
            return WORD.matcher(given)
                    .results()
                    .map(found -> found.group().replaceAll("^[\"']|[\"']$", ""))
                    .toList();
        }
        for (var folder : environment.getOrDefault("PATH", "").split(Pattern.quote(File.pathSeparator))) {
            var program = Path.of(folder, "jobqueue-server");
            if (Files.isExecutable(program)) {
                return List.of(program.toString());
            }
        }
        throw new ServerMissing(MISSING, null);
    }

    /** A text of the line that a server says when it is ready; such texts have no escapes. */
    private static String said(String words, String line, String name) {
        var found = Pattern.compile("\"" + name + "\":\\s*\"([^\"\\\\]*)\"").matcher(line);
        if (!found.find()) {
            throw new ServerMissing(
                    "%s must say in a line of JSON where it answers, and said: %s"
                            .formatted(words, line.substring(0, Math.min(SHOWN, line.length()))),
                    null);
        }
        return found.group(1);
    }

    /** Its address, HOST:PORT. */
    public String target() {
        return target;
    }

    /** An administrator's key. Empty: it asks for none. */
    public String key() {
        return key;
    }

    /**
     * Makes a namespace and a key that permits everything in it, for one test.
     *
     * @throws dev.jobqueue.JobQueueException the server refuses it, such as for a key that is no administrator's of
     *     {@code default}
     */
    public TestScope openScope() {
        return new TestScope(this);
    }

    /** The secret of a key of a new namespace. */
    String open(String namespace) {
        var hooks = TestHooks.get();
        hooks.call(
                client,
                AccessAdminGrpc.getCreateNamespaceMethod(),
                CreateNamespaceRequest.newBuilder().setName(namespace).build());
        var everything = Grant.newBuilder()
                .addAllPermissions(List.of(Permission.ENQUEUE, Permission.WORK, Permission.READ, Permission.OPERATE))
                .addQueues("*")
                .setPayloads(true);
        var request = CreateKeyRequest.newBuilder()
                .setName("tests")
                .addGrants(everything)
                .addGrants(Grant.newBuilder().addPermissions(Permission.ADMIN))
                .setNamespace(namespace)
                .build();
        return hooks.call(client, AccessAdminGrpc.getCreateKeyMethod(), request).getSecret();
    }

    /** Its workers and clients are refused from then on. It stays until the server ends. */
    void disable(String namespace) {
        var request = DisableNamespaceRequest.newBuilder().setName(namespace).build();
        TestHooks.get().call(client, AccessAdminGrpc.getDisableNamespaceMethod(), request);
    }

    /** Ends the server, if it was started here, and waits for its end. */
    @Override
    public void close() {
        client.close();
        if (process == null) {
            return;
        }
        try {
            process.getOutputStream().close();
            process.waitFor();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        } catch (InterruptedException error) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
    }
}
