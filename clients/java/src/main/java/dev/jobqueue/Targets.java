package dev.jobqueue;

import java.util.regex.Pattern;

/** Addresses of servers. */
final class Targets {
    // Those that gRPC reads by itself, with or without slashes, and those of others, with them.
    private static final Pattern SCHEME =
            Pattern.compile("(dns|unix|unix-abstract|ipv4|ipv6|vsock|xds):.*|[a-zA-Z][a-zA-Z0-9+.-]*://.*");
    private static final Pattern HOST_AND_PORT = Pattern.compile("(?<host>.+):(?<port>[0-9]{1,5})");
    private static final Pattern WEB = Pattern.compile("(?i)https?://.*");

    private Targets() {}

    /**
     * The same address, if gRPC may know what to do with it. It takes one without a port for port 80 or 443.
     *
     * @throws JobQueueException.InvalidRequest it is no host with a port, nor of a scheme of gRPC
     */
    static String checked(String target) {
        var words = "must be HOST:PORT, such as 127.0.0.1:50051";
        if (WEB.matcher(target).matches()) {
            throw Errors.invalid("target", words + ", without http://", null);
        }
        var plain = HOST_AND_PORT.matcher(target);
        if (!SCHEME.matcher(target).matches() && !(plain.matches() && isPort(plain.group("port")))) {
            throw Errors.invalid("target", words, null);
        }
        return target;
    }

    private static boolean isPort(String digits) {
        var port = Integer.parseInt(digits);
        return port >= 1 && port <= 65535;
    }
}
