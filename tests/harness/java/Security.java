import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.errors.AuthenticationException;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.SslAuthenticationException;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerTokenCallback;

/** What the field `security` of a request asks for, as the client's settings, and what kind of refusal an error is. */
final class Security {
    private static final String MODULES = "org.apache.kafka.common.security.";
    private static final String STORE_PASSWORD = "of-a-test";
    private static final Map<String, String> STORES = new ConcurrentHashMap<>();

    static void into(JsonNode security, Properties p) throws Exception {
        p.put("security.protocol", security.get("protocol").asText());
        if (security.has("ca")) store("truststore", security.get("ca").asText(), p);
        if (security.has("identity")) store("keystore", security.get("identity").asText(), p);
        if (!security.has("mechanism")) return;
        String mechanism = security.get("mechanism").asText();
        p.put("sasl.mechanism", mechanism);
        String options = " required username=\"" + security.path("user").asText() + "\" password=\"" + security.path("password").asText() + "\";";
        switch (mechanism) {
            case "PLAIN" -> p.put("sasl.jaas.config", MODULES + "plain.PlainLoginModule" + options);
            case "OAUTHBEARER" -> {
                if (security.has("oidc")) {
                    oidc(security.get("oidc"), p);
                    return;
                }
                String token = " required token=\"" + security.get("token").asText() + "\";";
                p.put("sasl.jaas.config", MODULES + "oauthbearer.OAuthBearerLoginModule" + token);
                p.put("sasl.login.callback.handler.class", Token.class.getName());
            }
            default -> p.put("sasl.jaas.config", MODULES + "scram.ScramLoginModule" + options);
        }
    }

    /** The client's own login at an identity provider. */
    private static void oidc(JsonNode oidc, Properties p) {
        String url = oidc.get("url").asText();
        System.setProperty("org.apache.kafka.sasl.oauthbearer.allowed.urls", url);
        p.put("sasl.oauthbearer.token.endpoint.url", url);
        p.put("sasl.login.callback.handler.class", MODULES + "oauthbearer.OAuthBearerLoginCallbackHandler");
        p.put("sasl.jaas.config", MODULES + "oauthbearer.OAuthBearerLoginModule required clientId=\"" + oidc.get("id").asText()
            + "\" clientSecret=\"" + oidc.get("secret").asText() + "\";");
    }

    /** Stores in PKCS#12, made of the PEM file: the client takes PEM itself from 2.7 on only. */
    private static void store(String what, String pem, Properties p) throws Exception {
        String key = what + pem + Files.getLastModifiedTime(Path.of(pem));
        String file = STORES.get(key);
        if (file == null) STORES.put(key, file = makeStore(what.equals("keystore"), Files.readString(Path.of(pem))));
        p.put("ssl." + what + ".type", "PKCS12");
        p.put("ssl." + what + ".location", file);
        p.put("ssl." + what + ".password", STORE_PASSWORD);
        if (what.equals("keystore")) p.put("ssl.key.password", STORE_PASSWORD);
    }

    private static String makeStore(boolean withKey, String pem) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        String certificates = pem.substring(pem.indexOf("-----BEGIN CERTIFICATE"));
        Certificate[] chain = CertificateFactory.getInstance("X.509")
            .generateCertificates(new ByteArrayInputStream(certificates.getBytes(StandardCharsets.UTF_8))).toArray(new Certificate[0]);
        if (withKey) {
            String base64 = pem.substring(pem.indexOf('\n'), pem.indexOf("-----END")).replaceAll("\\s", "");
            PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(base64)));
            store.setKeyEntry("key", key, STORE_PASSWORD.toCharArray(), chain);
        } else {
            for (int i = 0; i < chain.length; i++) store.setCertificateEntry("ca" + i, chain[i]);
        }
        Path file = Files.createTempFile("peer-", ".p12");
        file.toFile().deleteOnExit();
        try (OutputStream out = Files.newOutputStream(file)) {
            store.store(out, STORE_PASSWORD.toCharArray());
        }
        return file.toString();
    }

    /** `tls`, `authentication`, `authorization`, or null. */
    static String kind(Throwable error) {
        for (Throwable e = error; e != null; e = e.getCause()) {
            if (e instanceof SslAuthenticationException) return "tls";
            if (e instanceof AuthenticationException) return "authentication";
            if (e instanceof AuthorizationException) return "authorization";
        }
        return null;
    }

    /** Adds or removes one rule: `change user resource name pattern operation permission`. */
    static void changeAcl(AdminClient admin, JsonNode q) throws Exception {
        ResourcePattern pattern = new ResourcePattern(ResourceType.fromString(q.get("resource").asText()), q.get("name").asText(),
            PatternType.fromString(q.path("pattern").asText("LITERAL")));
        AccessControlEntry entry = new AccessControlEntry("User:" + q.get("user").asText(), "*",
            AclOperation.fromString(q.get("operation").asText()), AclPermissionType.fromString(q.path("permission").asText("ALLOW")));
        AclBinding binding = new AclBinding(pattern, entry);
        if (q.get("change").asText().equals("add")) admin.createAcls(Set.of(binding)).all().get();
        else if (admin.deleteAcls(Set.of(binding.toFilter())).all().get().isEmpty()) throw new IllegalStateException("there is no " + binding);
    }

    /** Every rule there is, as a text, in order. */
    static void acls(AdminClient admin, ArrayNode all) throws Exception {
        Set<String> found = new TreeSet<>();
        admin.describeAcls(AclBindingFilter.ANY).values().get().forEach(binding -> found.add(binding.toString()));
        found.forEach(all::add);
    }

    /** Logs in with the token that the JAAS configuration holds. */
    public static final class Token implements AuthenticateCallbackHandler {
        private String token;

        @Override
        public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
            token = entries.get(0).getOptions().get("token").toString();
        }

        @Override
        public void handle(Callback[] callbacks) throws IOException, UnsupportedCallbackException {
            for (Callback callback : callbacks) {
                if (!(callback instanceof OAuthBearerTokenCallback)) throw new UnsupportedCallbackException(callback);
                ((OAuthBearerTokenCallback) callback).token(new Bearer(token));
            }
        }

        @Override
        public void close() {}
    }

    private static final class Bearer implements OAuthBearerToken {
        private final String value;

        Bearer(String value) {
            this.value = value;
        }

        @Override
        public String value() {
            return value;
        }

        @Override
        public Set<String> scope() {
            return Set.of();
        }

        /** The client gives a token whose time has come to the broker as it is: nobody renews it. */
        @Override
        public long lifetimeMs() {
            return Long.MAX_VALUE;
        }

        @Override
        public String principalName() {
            return "alice";
        }

        @Override
        public Long startTimeMs() {
            return null;
        }
    }
}
