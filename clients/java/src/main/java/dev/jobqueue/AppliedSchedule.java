package dev.jobqueue;

/**
 * What {@link Schedules#apply} did.
 *
 * @param schedule the schedule as it is now; one that was deleted, as it was listed before
 * @param done what was done with it
 */
public record AppliedSchedule(Schedule schedule, Done done) {
    /** What was done with a schedule. */
    public enum Done {
        /** It was not there. */
        CREATED,
        /** It was another one. */
        CHANGED,
        /** It was as the program declares it. */
        UNCHANGED,
        /** The program does not declare it any more. */
        DELETED
    }
}
