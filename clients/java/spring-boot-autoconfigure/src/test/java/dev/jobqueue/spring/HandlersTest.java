package dev.jobqueue.spring;

import static java.util.concurrent.CompletableFuture.supplyAsync;
import static org.assertj.core.api.Assertions.assertThat;

import dev.jobqueue.Client;
import dev.jobqueue.EnqueueResult;
import dev.jobqueue.HandlerOptions;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.Json;
import dev.jobqueue.Kind;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.Middleware;
import dev.jobqueue.NewJob;
import dev.jobqueue.Observer;
import dev.jobqueue.Status;
import dev.jobqueue.Worker;
import dev.jobqueue.WorkerStatus;
import dev.jobqueue.testing.JobQueueExtension;
import dev.jobqueue.testing.TestScope;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.springframework.aop.framework.ProxyFactory;
import org.springframework.boot.autoconfigure.AutoConfigurations;
import org.springframework.boot.jackson.autoconfigure.JacksonAutoConfiguration;
import org.springframework.boot.test.context.runner.ApplicationContextRunner;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Scope;
import org.springframework.core.annotation.Order;

@ExtendWith(JobQueueExtension.class)
class HandlersTest {
    record Order1(int number, String email) {}

    record Receipt(String text) {}

    static final JobKind<Order1, Receipt> RECEIPT =
            JobKind.define("receipt", Order1.class, Receipt.class).build();

    static ApplicationContextRunner contexts() {
        return new ApplicationContextRunner()
                .withConfiguration(AutoConfigurations.of(
                        JacksonAutoConfiguration.class,
                        JobQueueAutoConfiguration.class,
                        JobQueueWorkerAutoConfiguration.class,
                        JobQueueHealthAutoConfiguration.class,
                        JobQueueTransactionAutoConfiguration.class));
    }

    /** With the server of a test, and its workers by hand: the context of a handler that should not run connects to nothing. */
    static ApplicationContextRunner contexts(TestScope scope) {
        return contexts()
                .withPropertyValues(
                        "jobqueue.server=" + scope.target(),
                        "jobqueue.token=" + scope.key(),
                        "jobqueue.worker.sync-kinds=true");
    }

    static final class Shop {
        @JobHandler(kind = "greet")
        String greet(JobContext context, Order1 order, LeasedJob job) {
            return "%d %s %s"
                    .formatted(order.number(), job.kind(), context.job().id());
        }

        @JobHandler(kind = "sum", slots = 2)
        int sum(List<Order1> orders) {
            return orders.stream().mapToInt(Order1::number).sum();
        }

        @JobHandler(kind = "later")
        CompletionStage<Receipt> later(int number) {
            return supplyAsync(() -> new Receipt("number " + number));
        }

        @JobHandler(kind = "bare")
        void bare() {}

        @JobHandler(kind = "fails")
        void fails(Json any) throws java.io.IOException {
            throw new java.io.IOException("no disk");
        }
    }

    static final class Receipts implements JobHandlerBean<Order1, Receipt> {
        @Override
        public JobKind<Order1, Receipt> kind() {
            return RECEIPT;
        }

        @Override
        public Receipt run(Order1 order, JobContext context) {
            return new Receipt("order " + order.number());
        }
    }

    @Test
    void methodsAndBeansRunJobs(TestScope scope, Client client) {
        client.putKind(Kind.of("bare"));
        contexts(scope).withBean(Shop.class).withBean(Receipts.class).run(context -> {
            assertThat(context).hasNotFailed();
            var within = Duration.ofMinutes(1);
            var worker = context.getBean(Worker.class);
            assertThat(worker.status().kinds()).containsExactly("bare", "fails", "greet", "later", "receipt", "sum");
            var jobs = context.getBean(Client.class);
            // Its kinds are synced before it serves: bare is the one that no type tells of.
            var bare = jobs.waitFor(jobs.enqueue("bare", null).id(), within);
            assertThat(bare.status()).isEqualTo(Status.SUCCEEDED);
            var greet = jobs.enqueue("greet", new Order1(7, "a@example.org"));
            assertThat(jobs.waitFor(greet.id(), within).output()).contains(Json.of("\"7 greet " + greet.id() + "\""));
            var sum = jobs.enqueue("sum", List.of(new Order1(3, ""), new Order1(4, "")));
            assertThat(jobs.waitFor(sum.id(), within).output()).contains(Json.of("7"));
            var later = jobs.enqueue("later", 5);
            assertThat(jobs.waitFor(later.id(), within).output()).contains(Json.of("{\"text\":\"number 5\"}"));
            var receipt = jobs.enqueue(RECEIPT, new Order1(9, ""));
            assertThat(RECEIPT.outputOf(jobs.waitFor(receipt.id(), within))).isEqualTo(new Receipt("order 9"));
            var fails = jobs.enqueue(NewJob.builder("fails").maxAttempts(1).build());
            assertThat(jobs.waitFor(fails.id(), within).lastError()).isEqualTo("no disk");
            var unfit = jobs.enqueue("greet", Json.of("{\"number\":\"x\"}"));
            var ended = jobs.waitFor(unfit.id(), within);
            assertThat(ended.status()).isEqualTo(Status.FAILED_PERMANENT);
            assertThat(ended.lastError()).contains("payload.number: must be a whole number");
        });
    }

    private static void refused(ApplicationContextRunner runner, String... words) {
        runner.run(context -> assertThat(context)
                .getFailure()
                .isInstanceOf(IllegalStateException.class)
                .message()
                .contains(words));
    }

    static final class Twin {
        @JobHandler(kind = "greet")
        void greet() {}
    }

    @Test
    void twoHandlersOfAKindFailTheStart() {
        refused(
                contexts().withBean(Shop.class).withBean(Twin.class),
                "the kind \"greet\" has two handlers in the worker jobQueueWorker",
                "HandlersTest$Shop.greet()",
                "HandlersTest$Twin.greet()");
    }

    static final class Older implements JobHandlerBean<Order1, Receipt> {
        @Override
        public JobKind<Order1, Receipt> kind() {
            return JobKind.define("welcome", Order1.class, Receipt.class)
                    .aliases("greet")
                    .build();
        }

        @Override
        public Receipt run(Order1 order, JobContext context) {
            return null;
        }
    }

    @Test
    void anOlderNameOfAKindIsOneToo() {
        refused(
                contexts().withBean(Older.class).withBean(Twin.class),
                "the kind \"greet\" has two handlers",
                "HandlersTest$Older",
                "HandlersTest$Twin.greet()");
    }

    @Test
    void aHandlerThatTheApplicationGaveItsWorkerIsOneToo() {
        var own = contexts().withBean("own", Worker.class, () -> Worker.builder("127.0.0.1:1")
                .build()
                .handle("greet", (job, context) -> null));
        refused(own.withBean(Twin.class), "the kind \"greet\" has two handlers in the worker own", "Twin.greet()");
    }

    static final class Reports {
        @JobHandler(kind = "report", worker = "reports")
        void report() {}
    }

    @Test
    void aHandlerWhoseWorkerIsNotThereFailsTheStart() {
        refused(
                contexts().withBean(Reports.class),
                "Reports.report() of the kind \"report\" belongs to the worker \"reports\"",
                "there is [jobQueueWorker]");
    }

    @Configuration(proxyBeanMethods = false)
    static class TwoWorkers {
        @Bean
        Worker reports(Worker.Builder builder) {
            return builder.queues("reports").build();
        }

        @Bean
        Worker others(Worker.Builder builder) {
            return builder.build();
        }
    }

    @Test
    void ofTwoWorkersAHandlerNamesOne() {
        var two = contexts()
                .withPropertyValues("jobqueue.worker.auto-startup=false")
                .withUserConfiguration(TwoWorkers.class);
        refused(
                two.withBean(Twin.class),
                "Twin.greet() of the kind \"greet\" belongs to no worker",
                "[reports, others]");
        two.withBean(Reports.class).run(context -> {
            assertThat(context).doesNotHaveBean("jobQueueWorker");
            assertThat(context.getBean("reports", Worker.class).status().kinds())
                    .containsExactly("report");
            assertThat(context.getBean("others", Worker.class).status().kinds()).isEmpty();
        });
    }

    @Configuration(proxyBeanMethods = false)
    static class MadeAnew {
        @Bean
        @Scope("prototype")
        Twin twin() {
            return new Twin();
        }
    }

    @Test
    void aBeanThatIsMadeAnewEachTimeHandlesNothing() {
        refused(
                contexts().withUserConfiguration(MadeAnew.class),
                "Twin.greet() is of the bean \"twin\"",
                "no singleton");
    }

    static final class TwoPayloads {
        @JobHandler(kind = "two")
        void two(int one, String other) {}
    }

    @Test
    void aMethodOfTwoPayloadsFailsTheStart() {
        refused(
                contexts().withBean(TwoPayloads.class),
                "TwoPayloads.two()",
                "two payloads: a int and a java.lang.String");
    }

    abstract static class ListHandler<T> {
        @JobHandler(kind = "first")
        T first(List<T> all) {
            return all.get(0);
        }
    }

    abstract static class OneHandler<T> {
        @JobHandler(kind = "one")
        String one(T of) {
            return of.getClass().getSimpleName();
        }
    }

    static final class OrderHandler extends ListHandler<Order1> {}

    /** What it handles is a type with a type of its own. */
    abstract static class NumberHandler<T> {
        @JobHandler(kind = "number")
        int number(T of) {
            return numberOf(of);
        }

        abstract int numberOf(T of);
    }

    static final class OrdersHandler extends NumberHandler<List<Order1>> {
        @Override
        int numberOf(List<Order1> of) {
            return of.get(0).number();
        }
    }

    static final class AnOrderHandler extends OneHandler<Order1> {}

    @Test
    void aHandlerOfASuperclassTakesWhatTheBeanSays(TestScope scope) {
        contexts(scope)
                .withBean(OrderHandler.class)
                .withBean(AnOrderHandler.class)
                .withBean(OrdersHandler.class)
                .withPropertyValues("jobqueue.worker.auto-startup=false")
                .run(context -> {
                    for (var kind : List.of("first", "one", "number")) {
                        scope.client().putKind(Kind.of(kind));
                    }
                    var client = context.getBean(Client.class);
                    var first = client.enqueue("first", List.of(new Order1(3, "a")));
                    var one = client.enqueue("one", new Order1(3, "a"));
                    var number = client.enqueue("number", List.of(new Order1(4, "b")));
                    scope.runUntilIdle(context.getBean(Worker.class));
                    assertThat(scope.client().get(number.id()).output()).contains(Json.of("4"));
                    assertThat(scope.client().get(first.id()).output())
                            .contains(Json.of("{\"number\":3,\"email\":\"a\"}"));
                    assertThat(scope.client().get(one.id()).output()).contains(Json.of("\"Order1\""));
                });
    }

    @SuppressWarnings("rawtypes") // what is to be refused
    static final class RawHandler extends ListHandler {}

    @Test
    void aHandlerWhosePayloadIsOfNoTypeFailsTheStart() {
        refused(
                contexts().withBean(RawHandler.class),
                "ListHandler.first() takes a java.util.List<T>",
                "RawHandler does not say what that is");
    }

    static final class Futures {
        @JobHandler(kind = "future")
        java.util.concurrent.Future<String> future() {
            return CompletableFuture.completedFuture("late");
        }
    }

    static final class Flows {
        @JobHandler(kind = "flow")
        java.util.concurrent.Flow.Publisher<String> flow() {
            return null;
        }
    }

    abstract static class Mono<T> implements org.reactivestreams.Publisher<T> {}

    static final class Monos {
        @JobHandler(kind = "mono")
        Mono<String> mono() {
            return null;
        }
    }

    @Test
    void aHandlerWhoseEndIsNotSeenFailsTheStart() {
        refused(
                contexts().withBean(Futures.class),
                "Futures.future() returns a java.util.concurrent.Future, which no worker waits for");
        refused(contexts().withBean(Flows.class), "Flows.flow() returns a java.util.concurrent.Flow$Publisher");
        refused(
                contexts().withBean(Monos.class),
                "Monos.mono() returns a",
                "HandlersTest$Mono, which no worker waits for");
    }

    static final class Absent {}

    static final class NamesAnAbsentClass {
        public void use(Absent absent) {}
    }

    /** Has a class of its own, and not one that it names. */
    static final class Lacking extends ClassLoader {
        Lacking() {
            super(HandlersTest.class.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            if (name.equals(Absent.class.getName())) {
                throw new ClassNotFoundException(name);
            }
            return super.loadClass(name, resolve);
        }

        Object make() throws ReflectiveOperationException, java.io.IOException {
            var name = NamesAnAbsentClass.class.getName();
            try (var file = getResourceAsStream(name.replace('.', '/') + ".class")) {
                var bytes = file.readAllBytes();
                var constructor = defineClass(name, bytes, 0, bytes.length).getDeclaredConstructor();
                constructor.setAccessible(true);
                return constructor.newInstance();
            }
        }
    }

    @Test
    void aBeanWhoseClassCantBeReadFailsNoStart() throws Exception {
        var made = new Lacking().make();
        contexts()
                .withInitializer(context -> context.getBeanFactory().registerSingleton("made", made))
                .run(context -> assertThat(context).hasNotFailed());
    }

    @Test
    void whatIsNoBeanIsNotFound() {
        // Shop and the others are on the class path.
        contexts().run(context -> {
            assertThat(context.getBean(Worker.class).status().kinds()).isEmpty();
            assertThat(context.getBean(WorkersLifecycle.class).isRunning()).isFalse();
        });
    }

    interface Greeter {
        @JobHandler(kind = "greet")
        String greet(String name);
    }

    @Test
    void aProxyIsCalledAndNotWhatIsBehindIt(TestScope scope) {
        Greeter behind = name -> "hello " + name;
        var calls = new CopyOnWriteArrayList<String>();
        contexts(scope)
                .withBean(Greeter.class, () -> {
                    var proxies = new ProxyFactory(behind);
                    proxies.addAdvice((org.aopalliance.intercept.MethodInterceptor) call -> {
                        calls.add(call.getMethod().getName());
                        return call.proceed();
                    });
                    return (Greeter) proxies.getProxy();
                })
                .withPropertyValues("jobqueue.worker.auto-startup=false")
                .run(context -> {
                    scope.client().putKind(Kind.of("greet"));
                    var job = context.getBean(Client.class).enqueue("greet", "Ada");
                    scope.runUntilIdle(context.getBean(Worker.class));
                    assertThat(scope.client().get(job.id()).output()).contains(Json.of("\"hello Ada\""));
                    assertThat(calls).contains("greet");
                });
    }

    @Configuration(proxyBeanMethods = false)
    static class Around {
        final List<String> seen = new CopyOnWriteArrayList<>();

        private Middleware named(String name) {
            return new Middleware() {
                @Override
                public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
                    seen.add(name + " handles");
                    return next.run();
                }

                @Override
                public CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> jobs, NextEnqueue next) {
                    seen.add(name + " enqueues");
                    return next.enqueue(jobs);
                }
            };
        }

        @Bean
        @Order(2)
        Middleware inner() {
            return named("inner");
        }

        @Bean
        @Order(1)
        Middleware outer() {
            return named("outer");
        }
    }

    @Test
    void middlewareIsOrderedAndATestRunsTheWorkerOfTheApplication(TestScope scope) {
        scope.client().putKind(Kind.of("receipt"));
        contexts(scope)
                .withBean(Receipts.class)
                .withUserConfiguration(Around.class)
                .withPropertyValues("jobqueue.worker.auto-startup=false")
                .run(context -> {
                    context.getBean(Client.class).enqueue(RECEIPT, new Order1(1, ""));
                    scope.runUntilIdle(context.getBean(Worker.class));
                    assertThat(context.getBean(Around.class).seen)
                            .containsExactly("outer enqueues", "inner enqueues", "outer handles", "inner handles");
                });
    }

    @Test
    void observersAreAllToldAlsoWhereOneThrows(TestScope scope) throws Exception {
        var served = new CompletableFuture<WorkerStatus>();
        contexts(scope)
                .withBean(Receipts.class)
                .withBean("throws", Observer.class, () -> new Observer() {
                    @Override
                    public void sessionChanged(WorkerStatus status) {
                        throw new IllegalStateException("not today");
                    }
                })
                .withBean("told", Observer.class, () -> new Observer() {
                    @Override
                    public void sessionChanged(WorkerStatus status) {
                        if (status.state() == WorkerStatus.State.SERVING) {
                            served.complete(status);
                        }
                    }
                })
                .run(context ->
                        assertThat(served.get(60, TimeUnit.SECONDS).kinds()).containsExactly("receipt"));
    }

    @Test
    void aCustomizerHasTheLastWord() {
        contexts()
                .withPropertyValues("jobqueue.worker.concurrency=3", "jobqueue.worker.auto-startup=false")
                .withBean(Receipts.class)
                .withBean(WorkerCustomizer.class, () -> builder -> builder.concurrency(5))
                .run(context -> assertThat(
                                context.getBean(Worker.class).status().slots())
                        .isEqualTo(5));
    }

    @Test
    void optionsOfAHandlerAreUsed() {
        assertThat(new Receipts().options()).isEqualTo(HandlerOptions.DEFAULT);
        contexts()
                .withBean("bad", JobHandlerBean.class, () -> new JobHandlerBean<Order1, Receipt>() {
                    @Override
                    public JobKind<Order1, Receipt> kind() {
                        return RECEIPT;
                    }

                    @Override
                    public HandlerOptions options() {
                        throw new IllegalStateException("asked");
                    }

                    @Override
                    public Receipt run(Order1 order, JobContext context) {
                        return null;
                    }
                })
                .run(context -> assertThat(context).getFailure().hasMessage("asked"));
    }
}
