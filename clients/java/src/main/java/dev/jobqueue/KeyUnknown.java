package dev.jobqueue;

/** Nothing has the key. */
public final class KeyUnknown extends RuntimeException {
    private final String keyId;

    /** Of a key, by its name. */
    public KeyUnknown(String keyId) {
        super("nothing here has the key '%s': give it to AesGcm".formatted(keyId));
        this.keyId = keyId;
    }

    /** Its name. */
    public String keyId() {
        return keyId;
    }
}
