package carrick.authz;

import carrick.suite.Broker;
import carrick.suite.Suite;
import java.io.IOException;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.StringJoiner;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.UserScramCredentialAlteration;
import org.apache.kafka.common.Uuid;

/**
 * The broker of a test, outside of this JVM. In mode `shared` it is kept while the next test wants the same server config, and emptied in
 * between; where that is not possible, and in mode `fresh`, the next test gets a new one.
 */
public final class Peer {
    private static final int POLLS = 300;
    private static final long POLL_MS = 50;
    private static final int ADMIN_TIMEOUT_MS = 20_000;
    private static Peer last;

    private final Spec spec;
    private final Properties properties;
    private final Broker broker;
    private final Map<String, Integer> ports;
    private Admin admin;

    private Peer(Spec spec, Properties properties, Broker broker, Map<String, Integer> ports) {
        this.spec = spec;
        this.properties = properties;
        this.broker = broker;
        this.ports = ports;
    }

    /** A broker as the test wants it, without topics, groups, ACLs and users. */
    public static synchronized Peer acquire(Spec spec) {
        Properties properties = spec.properties();
        try {
            Peer old = last;
            last = null;
            Peer next = old == null ? null : old.emptied(spec, properties);
            if (next == null) {
                if (old != null) old.end();
                next = started(spec, properties);
            }
            last = next;
            for (UserScramCredentialAlteration user : spec.scram) next.admin().alterUserScramCredentials(List.of(user)).all().get();
            next.closeAdmin();
            return next;
        } catch (Exception e) {
            throw new RuntimeException("the broker could not be started", e);
        }
    }

    /** The same broker for the next test; null if it does not fit, or cannot be emptied. */
    private Peer emptied(Spec next, Properties wanted) {
        if (!broker.isRunning() || !properties.equals(wanted)) return null;
        Peer peer = new Peer(next, wanted, broker, ports);
        try {
            if (Wipe.all(peer.admin(), wanted)) return peer;
        } catch (Exception e) {
            System.err.println("the broker cannot be emptied: " + e);
        } finally {
            peer.closeAdmin();
        }
        return null;
    }

    private static Peer started(Spec spec, Properties properties) throws IOException, InterruptedException {
        Map<String, Integer> ports = new HashMap<>();
        StringJoiner listeners = new StringJoiner(",");
        StringJoiner advertised = new StringJoiner(",");
        for (String name : spec.allListeners().keySet()) {
            int port = Broker.freePort();
            ports.put(name, port);
            listeners.add(name + "://127.0.0.1:" + port);
            // The tests' certificates name this host.
            advertised.add(name + "://localhost:" + port);
        }
        Properties all = new Properties();
        all.putAll(properties);
        all.put("listeners", listeners.toString());
        all.put("advertised.listeners", advertised.toString());
        Broker broker = new Broker(all, ports.get(Spec.HARNESS));
        broker.start();
        return new Peer(spec, properties, broker, ports);
    }

    private void end() throws IOException, InterruptedException {
        closeAdmin();
        broker.kill();
        broker.remove();
    }

    /** After a test. */
    public void release() {
        closeAdmin();
        if (Suite.isShared()) return;
        synchronized (Peer.class) {
            if (last == this) last = null;
        }
        try {
            end();
        } catch (IOException | InterruptedException e) {
            throw new RuntimeException("the broker could not be stopped", e);
        }
    }

    /** After a test that failed: what the broker had to say goes to standard error. */
    public static synchronized void tellLog() {
        if (last != null) last.broker.tellLog();
    }

    public String bootstrap(String listener) {
        return "localhost:" + port(listener);
    }

    public String host(String listener) {
        return "localhost";
    }

    public int port(String listener) {
        Integer port = ports.get(listener);
        return port != null ? port : ports.get(spec.listeners.keySet().iterator().next());
    }

    /** Where a quorum of controllers answers, if the broker has one: its start script says so in a file. */
    Optional<String> controllers() {
        try {
            Path said = broker.folder().resolve("controllers");
            return Files.exists(said) ? Optional.of(Files.readString(said).trim()) : Optional.empty();
        } catch (IOException e) {
            throw new RuntimeException(e);
        }
    }

    /** Client settings for a listener: the bootstrap address and, where the test itself doesn't bring them, the credentials. */
    public Map<String, Object> client(String listener) {
        Map<String, Object> settings = new HashMap<>(spec.clients.getOrDefault(listener, Map.of()));
        settings.put("bootstrap.servers", bootstrap(listener));
        return settings;
    }

    /** The super user's admin client, for what the tests do inside the JVM. */
    public synchronized Admin admin() {
        if (admin == null) {
            Map<String, Object> settings = new HashMap<>(Spec.adminLogin());
            settings.put("bootstrap.servers", bootstrap(Spec.HARNESS));
            settings.put("request.timeout.ms", ADMIN_TIMEOUT_MS);
            settings.put("default.api.timeout.ms", ADMIN_TIMEOUT_MS);
            settings.put("enable.metrics.push", false);
            admin = Admin.create(settings);
        }
        return admin;
    }

    private synchronized void closeAdmin() {
        if (admin != null) admin.close(Duration.ofSeconds(2));
        admin = null;
    }

    /** Waits until a topic is there with all its leaders. */
    public void waitTopic(String topic, int partitions) throws InterruptedException {
        for (int i = 0; i < POLLS; i++) {
            try {
                TopicDescription found = admin().describeTopics(List.of(topic)).allTopicNames().get().get(topic);
                boolean haveLeaders = found.partitions().stream().allMatch(p -> p.leader() != null && p.leader().id() >= 0);
                if (found.partitions().size() == partitions && haveLeaders) return;
            } catch (ExecutionException e) {
                // Asked again.
            }
            Thread.sleep(POLL_MS);
        }
        throw new AssertionError("topic " + topic + " was not created in time");
    }

    void waitTopicDeletion(String topic) throws InterruptedException {
        for (int i = 0; i < POLLS; i++) {
            if (!topicIds().containsKey(topic)) return;
            Thread.sleep(POLL_MS);
        }
        throw new AssertionError("topic " + topic + " was not deleted in time");
    }

    public Map<String, Uuid> topicIds() {
        try {
            Map<String, Uuid> ids = new HashMap<>();
            var listed = admin().listTopics(new ListTopicsOptions().listInternal(true)).listings().get();
            listed.forEach(topic -> ids.put(topic.name(), topic.topicId()));
            return ids;
        } catch (InterruptedException | ExecutionException e) {
            throw new RuntimeException(e);
        }
    }

    /** Makes the coordinators of groups ready, which a Kafka is some time after its start. */
    public void warm() {
        try {
            admin().listConsumerGroupOffsets("harness-warmup").partitionsToOffsetAndMetadata().get();
        } catch (InterruptedException | ExecutionException e) {
            throw new RuntimeException(e);
        }
    }

    /** Logs a socket in as the clients of the listener do, where they do. */
    public void login(Socket socket, String listener) throws IOException {
        Object jaas = spec.clients.getOrDefault(listener, Map.of()).get("sasl.jaas.config");
        if (jaas != null) RawLogin.plain(socket, jaas.toString());
    }
}
