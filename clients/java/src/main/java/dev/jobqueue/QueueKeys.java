package dev.jobqueue;

import dev.jobqueue.v1.ListQueueKeysRequest;

/**
 * Which keys of a queue to list.
 *
 * @param only which of them; null: all
 * @param mostWaitingFirst whether those that most jobs wait for come first; else they come by name
 * @param most how many keys at most
 */
public record QueueKeys(QueueKey.Filter only, boolean mostWaitingFirst, int most) {
    /** By name, 1000 at most. */
    public static final QueueKeys ALL = new QueueKeys(null, false, 1000);

    ListQueueKeysRequest.Builder message(String queue) {
        var request =
                ListQueueKeysRequest.newBuilder().setQueue(queue).setOrderBy(mostWaitingFirst ? "waiting desc" : "key");
        if (only != null) {
            request.setOnly(ListQueueKeysRequest.Only.valueOf(only.name()));
        }
        return request;
    }
}
