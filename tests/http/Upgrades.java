import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Arrays;

/** Calls the server at args[0] with Java's own client as it comes, which asks for HTTP/2 with every request. */
public class Upgrades {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    public static void main(String[] args) throws Exception {
        String server = args[0];
        call(server, "PUT", "/v1/kinds/report", text("{\"schema\": {\"required\": [\"name\"]}}"));
        call(server, "POST", "/v1/jobs", text("{\"kind\":\"report\",\"payload\":{\"name\":1}}"));
        call(server, "POST", "/v1/jobs", text("{\"kind\":\"report\",\"payload\":{}}"));
        call(server, "POST", "/v1/jobs", text("{\"kind\":\"report\",\"payload\":{\"name\":\"" + "x".repeat(900_000) + "\"}}"));
        // A body whose length is not known before: in chunks.
        byte[] body = "{\"kind\":\"report\",\"payload\":{\"name\":2}}".getBytes();
        call(server, "POST", "/v1/jobs", BodyPublishers.ofByteArrays(Arrays.asList(body)));
        call(server, "GET", "/v1/kinds", BodyPublishers.noBody());
    }

    private static BodyPublisher text(String body) {
        return BodyPublishers.ofString(body);
    }

    private static void call(String server, String method, String path, BodyPublisher body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(server + path))
                .header("Content-Type", "application/json")
                .method(method, body)
                .build();
        HttpResponse<String> answer = CLIENT.send(request, BodyHandlers.ofString());
        String said = answer.body();
        System.out.println(answer.statusCode() + " " + answer.version() + " " + said.substring(0, Math.min(said.length(), 200)).replace('\n', ' '));
    }
}
