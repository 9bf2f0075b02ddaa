package org.apache.kafka.streams.integration.utils;

import carrick.authz.Peer;
import carrick.authz.Spec;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.server.util.MockTime;
import org.apache.kafka.test.TestUtils;

/** Shadows kafka-streams-integration-tests' class of the same name: the broker outside, for the reset tool's tests. */
public class EmbeddedKafkaCluster {
    private static final String LISTENER = "EXTERNAL";
    private static final Map<String, String> DEFAULTS = Map.of("group.min.session.timeout.ms", "0", "group.initial.rebalance.delay.ms", "0",
        "offsets.topic.num.partitions", "5", "offsets.topic.replication.factor", "1", "transaction.state.log.num.partitions", "5",
        "transaction.state.log.replication.factor", "1", "transaction.state.log.min.isr", "1", "auto.create.topics.enable", "true");

    public final MockTime time = new MockTime(System.currentTimeMillis(), System.nanoTime());
    private final Properties config;
    private Peer peer;

    public EmbeddedKafkaCluster(int brokers) {
        this(brokers, new Properties());
    }

    public EmbeddedKafkaCluster(int brokers, Properties config) {
        this.config = config;
    }

    public void start() {
        Spec spec = new Spec();
        spec.server.putAll(config);
        spec.server.put("node.id", "0");
        DEFAULTS.forEach(spec.server::putIfAbsent);
        peer = Peer.acquire(spec.listener(LISTENER, sslEnabled() ? "SSL" : "PLAINTEXT"));
        peer.warm();
    }

    public void stop() {
        if (peer != null) peer.release();
    }

    public String bootstrapServers() {
        return peer.bootstrap(LISTENER);
    }

    public boolean sslEnabled() {
        Object protocols = config.get("listener.security.protocol.map");
        return protocols != null && protocols.toString().contains(":SSL");
    }

    public void createTopics(String... topics) {
        for (String topic : topics) createTopic(topic);
    }

    public void createTopic(String topic) {
        createTopic(topic, 1);
    }

    public void createTopic(String topic, int partitions) {
        try {
            peer.admin().createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
            peer.waitTopic(topic, partitions);
        } catch (ExecutionException e) {
            if (!(e.getCause() instanceof TopicExistsException)) throw new RuntimeException(e);
        } catch (InterruptedException e) {
            throw new RuntimeException(e);
        }
    }

    private void delete(Collection<String> topics) {
        try {
            if (!topics.isEmpty()) peer.admin().deleteTopics(topics).all().get();
        } catch (ExecutionException e) {
            if (!(e.getCause() instanceof UnknownTopicOrPartitionException)) throw new RuntimeException(e);
        } catch (InterruptedException e) {
            throw new RuntimeException(e);
        }
    }

    public void deleteTopic(String topic) {
        delete(List.of(topic));
    }

    public void deleteTopics(String... topics) {
        for (String topic : topics) deleteTopic(topic);
    }

    public void deleteAllTopics() {
        delete(withoutInternal());
    }

    public Set<String> getAllTopicsInCluster() {
        return new HashSet<>(peer.topicIds().keySet());
    }

    public void waitForRemainingTopics(long timeoutMs, String... topics) throws InterruptedException {
        Set<String> wanted = new HashSet<>(Set.of(topics));
        wanted.removeIf(topic -> topic.startsWith("__"));
        TestUtils.waitForCondition(() -> withoutInternal().equals(wanted), timeoutMs, "Topics are not expected after " + timeoutMs + " ms.");
    }

    /** A broker need not list its internal topics. */
    private Set<String> withoutInternal() {
        Set<String> topics = getAllTopicsInCluster();
        topics.removeIf(topic -> topic.startsWith("__"));
        return topics;
    }
}
