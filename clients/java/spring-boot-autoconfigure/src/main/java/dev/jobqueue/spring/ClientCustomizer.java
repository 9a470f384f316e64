package dev.jobqueue.spring;

import dev.jobqueue.Client;

/** A bean that has the last word about the client, for what no property says. */
@FunctionalInterface
public interface ClientCustomizer {
    /** Says more of the client, after all properties and beans. */
    void customize(Client.Builder builder);
}
