package dev.jobqueue;

/** In what order jobs of one key start. */
public enum KeyOrder {
    /** In none that is promised; or in one that this version of the library does not know. */
    UNSPECIFIED,
    /** In the order in which their enqueues were answered, one after the other. */
    STRICT;

    dev.jobqueue.v1.KeyOrder message() {
        return switch (this) {
            case UNSPECIFIED -> dev.jobqueue.v1.KeyOrder.KEY_ORDER_UNSPECIFIED;
            case STRICT -> dev.jobqueue.v1.KeyOrder.KEY_ORDER_STRICT;
        };
    }

    static KeyOrder of(dev.jobqueue.v1.KeyOrder order) {
        return switch (order) {
            case KEY_ORDER_STRICT -> STRICT;
            case KEY_ORDER_UNSPECIFIED, UNRECOGNIZED -> UNSPECIFIED;
        };
    }
}
