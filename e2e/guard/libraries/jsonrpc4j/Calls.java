import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.googlecode.jsonrpc4j.JsonRpcHttpClient;
import java.io.InputStream;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.HashMap;
import java.util.Map;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** What jsonrpc4j sends: its client has no batches, so the calls of each are made one after the other. */
public class Calls {
    public static void main(String[] arguments) throws Exception {
        Map<String, String> headers = new HashMap<>();
        String token = System.getenv("RPC_TOKEN");
        if (token != null) {
            headers.put("Authorization", "Bearer " + Files.readString(Path.of(token)).trim());
        }
        ObjectMapper mapper = new ObjectMapper();
        JsonRpcHttpClient client = new JsonRpcHttpClient(mapper, new URL(System.getenv("RPC_URL")), headers);
        String authority = System.getenv("RPC_CA");
        if (authority != null) {
            client.setSslContext(trusting(authority));
        }
        for (JsonNode calls : mapper.readTree(System.getenv("RPC_BATCHES"))) {
            ArrayNode got = mapper.createArrayNode();
            for (JsonNode call : calls) {
                ObjectNode told = got.addObject();
                try {
                    Object[] params = mapper.convertValue(call.get(1), Object[].class);
                    told.set("result", client.invoke(call.get(0).asText(), params, JsonNode.class));
                } catch (Throwable error) {
                    told.put("error", String.valueOf(error.getMessage()));
                }
            }
            ObjectNode outcome = mapper.createObjectNode().put("way", "http, one by one");
            outcome.set("calls", calls);
            outcome.set("got", got);
            System.out.println("mixed " + mapper.writeValueAsString(outcome));
        }
    }

    private static SSLContext trusting(String authority) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (InputStream pem = Files.newInputStream(Path.of(authority))) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }
}
