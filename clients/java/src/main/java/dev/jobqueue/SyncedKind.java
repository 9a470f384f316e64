package dev.jobqueue;

/**
 * What {@link Client#syncKinds} did with one kind.
 *
 * @param kind the kind as the server has it now
 * @param changed whether it was changed
 * @param newer whether the server has a higher version of it, declared by a newer program, and so nothing was changed
 */
public record SyncedKind(Kind kind, boolean changed, boolean newer) {}
