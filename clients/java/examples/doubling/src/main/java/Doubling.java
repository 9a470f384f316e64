import dev.jobqueue.JobKind;

/** The kind {@code double}, for its producers and workers. */
class Doubling {
    record Input(int number) {}

    record Output(int doubled) {}

    static final JobKind<Input, Output> DOUBLE =
            JobKind.define("double", Input.class, Output.class).maxAttempts(5).build();
}
