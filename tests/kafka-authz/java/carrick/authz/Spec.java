package carrick.authz;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.config.types.Password;
import org.apache.kafka.test.TestSslUtils;

/**
 * The broker that a test wants: its server config, its listeners (name and protocol), the PLAIN users of each, and as whom clients of a
 * listener log in. One more listener, {@link #HARNESS}, is for what the tests do inside the broker.
 */
public final class Spec {
    static final String HARNESS = "HARNESS";
    private static final String PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    private static final String STANDARD_AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    private static final String ADMIN = "harness";
    private static final String ADMIN_PASSWORD = "harness-secret";
    private static final int ITERATIONS = 4096;
    /** What says how many brokers and controllers there are, and where they listen: not the test's to say here. */
    private static final Set<String> OURS = Set.of("listeners", "advertised.listeners", "listener.security.protocol.map",
        "inter.broker.listener.name", "security.inter.broker.protocol", "sasl.mechanism.inter.broker.protocol",
        "sasl.mechanism.controller.protocol", "process.roles", "controller.listener.names", "controller.quorum.voters",
        "controller.quorum.bootstrap.servers", "log.dir", "log.dirs", "metadata.log.dir", "broker.id", "node.id",
        "server.max.startup.time.ms");

    public final Properties server = new Properties();
    public final LinkedHashMap<String, String> listeners = new LinkedHashMap<>();
    final List<UserScramCredentialUpsertion> scram = new ArrayList<>();
    final Map<String, Map<String, Object>> clients = new HashMap<>();
    private final Map<String, Map<String, String>> plainUsers = new HashMap<>();

    public Spec listener(String name, String protocol) {
        listeners.put(name, protocol);
        return this;
    }

    public Spec scramUser(String mechanism, String user, String password) {
        var info = new ScramCredentialInfo(ScramMechanism.fromMechanismName(mechanism), ITERATIONS);
        scram.add(new UserScramCredentialUpsertion(user, info, password));
        return this;
    }

    /** A PLAIN user of the listener; with `isClient`, clients of that listener log in as this user. */
    public Spec plain(String listener, String user, String password, boolean isClient) {
        plainUsers.computeIfAbsent(listener, k -> new TreeMap<>()).put(user, password);
        if (isClient) clients.put(listener, saslPlain(listeners.get(listener), user, password));
        return this;
    }

    /** What the harness logs in with. */
    static Map<String, Object> adminLogin() {
        return saslPlain("SASL_PLAINTEXT", ADMIN, ADMIN_PASSWORD);
    }

    private static Map<String, Object> saslPlain(String protocol, String user, String password) {
        return Map.of("security.protocol", protocol, "sasl.mechanism", "PLAIN",
            "sasl.jaas.config", PLAIN + " username=\"" + user + "\" password=\"" + password + "\";");
    }

    /** All listeners, the harness's last. */
    Map<String, String> allListeners() {
        Map<String, String> all = new LinkedHashMap<>(listeners);
        all.put(HARNESS, "SASL_PLAINTEXT");
        return all;
    }

    /** What the broker is asked for, but for its ports: only standard settings, which any broker may know. */
    Properties properties() {
        Map<String, Object> wanted = new TreeMap<>();
        server.forEach((name, value) -> {
            boolean isClass = name.toString().endsWith("callback.handler.class") || name.toString().endsWith("principal.builder.class");
            if (!OURS.contains(name.toString()) && value != null && !isClass) wanted.put(name.toString(), value);
        });
        toPem(wanted);
        Properties p = new Properties();
        wanted.forEach((name, value) -> p.setProperty(name, text(value)));
        p.setProperty("node.id", server.getOrDefault("node.id", server.getOrDefault("broker.id", "0")).toString());
        boolean hasAuthorizer = !p.getProperty("authorizer.class.name", "").isEmpty();
        p.remove("authorizer.class.name");
        String others = p.getProperty("super.users", "");
        p.remove("super.users");
        if (hasAuthorizer) {
            // The tests' authorizers are subclasses of it.
            p.setProperty("authorizer.class.name", STANDARD_AUTHORIZER);
            p.setProperty("super.users", (others.isEmpty() ? "" : others + ";") + "User:" + ADMIN);
        }
        p.setProperty("listener.security.protocol.map",
            allListeners().entrySet().stream().map(l -> l.getKey() + ":" + l.getValue()).collect(Collectors.joining(",")));
        p.setProperty("inter.broker.listener.name", HARNESS);
        p.setProperty("sasl.mechanism.inter.broker.protocol", "PLAIN");
        p.setProperty(ofListener(HARNESS, "sasl.enabled.mechanisms"), "PLAIN");
        p.setProperty(ofListener(HARNESS, "plain.sasl.jaas.config"), PLAIN + " username=\"" + ADMIN + "\" password=\"" + ADMIN_PASSWORD
            + "\" user_" + ADMIN + "=\"" + ADMIN_PASSWORD + "\";");
        plainUsers.forEach((listener, users) -> {
            StringBuilder jaas = new StringBuilder(PLAIN);
            users.forEach((user, password) -> jaas.append(" user_" + user + "=\"" + password + "\""));
            p.setProperty(ofListener(listener, "plain.sasl.jaas.config"), jaas + ";");
            if (!p.containsKey("sasl.enabled.mechanisms")) p.putIfAbsent(ofListener(listener, "sasl.enabled.mechanisms"), "PLAIN");
        });
        return p;
    }

    private static String ofListener(String listener, String setting) {
        return "listener.name." + listener.toLowerCase(Locale.ROOT) + "." + setting;
    }

    private static String text(Object value) {
        if (value instanceof Password password) return password.value();
        if (value instanceof Collection<?> all) return all.stream().map(Object::toString).collect(Collectors.joining(","));
        return value.toString();
    }

    /** Turns the tests' JKS and PKCS12 stores into PEM files without encryption, which a broker in any language can read. */
    private static void toPem(Map<String, Object> wanted) {
        try {
            boolean any = false;
            for (String store : List.of("ssl.keystore.location", "ssl.truststore.location")) {
                Object location = wanted.get(store);
                if (location == null) continue;
                Path copy = Files.createTempFile("authz", ".pem");
                Files.copy(Path.of(location.toString()), copy, StandardCopyOption.REPLACE_EXISTING);
                wanted.put(store, copy.toString());
                any = true;
            }
            if (any) TestSslUtils.convertToPem(wanted, true, false);
        } catch (Exception e) {
            throw new RuntimeException("a key store cannot be turned into PEM", e);
        }
    }
}
