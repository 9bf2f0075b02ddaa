package carrick.suite;

import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import kafka.server.ControllerServer;
import kafka.server.KafkaBroker;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.network.ListenerName;
import org.apache.kafka.common.test.ClusterInstance;
import org.apache.kafka.common.test.api.ClusterConfig;
import org.apache.kafka.common.test.api.Type;
import org.apache.kafka.server.fault.FaultHandlerException;
import org.junit.jupiter.api.Assumptions;

/**
 * What a test sees as its cluster: one broker outside of this JVM, whatever number the test asks for. In mode `fresh` it is started for
 * the test with the test's server config; in mode `shared` all tests use one, and each finds it without topics and groups.
 * There are no broker objects: tests that look into them find none.
 */
public final class Cluster implements ClusterInstance {
    /** What the tests rely on in one way or another; the broker of mode `shared` has nothing else. */
    private static final Map<String, String> SHARED_CONFIG = Map.of(
        // Members that join within milliseconds of each other are to be in one generation, on a busy machine, too.
        "group.initial.rebalance.delay.ms", "100",
        "group.min.session.timeout.ms", "100",
        "group.consumer.min.heartbeat.interval.ms", "500",
        "group.consumer.heartbeat.interval.ms", "500",
        "auto.create.topics.enable", "true",
        "num.partitions", "1");
    private static final int NODE = 0;
    private static final int POLLS = 300;
    private static final long POLL_MS = 50;
    private static Broker shared;

    private final ClusterConfig config;
    private final boolean combined;
    private Broker broker;
    private boolean stopped;

    public Cluster(ClusterConfig config, boolean combined) {
        this.config = config;
        this.combined = combined;
    }

    @Override
    public void start() {
        if (broker != null) return;
        try {
            if (!Suite.isShared()) {
                Map<String, String> properties = new HashMap<>(config.serverProperties());
                properties.putAll(config.perServerOverrideProperties().getOrDefault(NODE, Map.of()));
                broker = Broker.of(properties);
                broker.start();
                return;
            }
            if (shared == null) shared = Broker.of(SHARED_CONFIG);
            shared.start();
            broker = shared;
            wipe();
        } catch (Exception e) {
            throw new RuntimeException("the broker could not be started", e);
        }
    }

    /** After a test that failed: what the broker of mode `fresh` had to say goes to standard error. */
    public void tellLog() {
        if (broker != null && broker != shared) broker.tellLog();
    }

    @Override
    public void stop() {
        if (stopped) return;
        stopped = true;
        if (broker == null || broker == shared) return;
        try {
            broker.kill();
            broker.remove();
        } catch (IOException | InterruptedException e) {
            throw new RuntimeException("the broker could not be stopped", e);
        }
    }

    @Override
    public void shutdownBroker(int id) {
        try {
            broker.stop();
        } catch (InterruptedException e) {
            throw new RuntimeException(e);
        }
    }

    @Override
    public void startBroker(int id) {
        try {
            broker.start();
        } catch (IOException | InterruptedException e) {
            throw new RuntimeException("the broker could not be started again", e);
        }
    }

    private void wipe() throws Exception {
        try (Admin admin = admin()) {
            var groups = admin.listGroups().all().get().stream().map(g -> g.groupId()).toList();
            try {
                if (!groups.isEmpty()) admin.deleteConsumerGroups(groups).all().get();
            } catch (ExecutionException e) {
                // A group of another kind, or one whose members are not gone yet: the next test has other names.
            }
            var topics = admin.listTopics().names().get();
            if (!topics.isEmpty()) admin.deleteTopics(topics).all().get();
            await("the topics are gone", () -> admin.listTopics().names().get().isEmpty());
        }
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    private static void await(String what, Condition condition) throws InterruptedException {
        for (int i = 0; i < POLLS; i++) {
            try {
                if (condition.holds()) return;
            } catch (ExecutionException e) {
                // Asked again.
            } catch (InterruptedException e) {
                throw e;
            } catch (Exception e) {
                throw new AssertionError(what, e);
            }
            Thread.sleep(POLL_MS);
        }
        throw new AssertionError("not so in time: " + what);
    }

    @Override
    public void createTopic(String topic, int partitions, short replicas, Map<String, String> props) throws InterruptedException {
        Map<String, String> configs = new HashMap<>(props);
        configs.remove("min.insync.replicas");
        try (Admin admin = admin()) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
        } catch (ExecutionException e) {
            // Tests do create topics that exist; Kafka's own harness only waits for the number of partitions.
            if (!(e.getCause() instanceof TopicExistsException)) throw new RuntimeException(e.getCause());
        }
        waitTopicCreation(topic, partitions);
    }

    @Override
    public void waitTopicCreation(String topic, int partitions) throws InterruptedException {
        try (Admin admin = admin()) {
            await("topic " + topic + " is there",
                () -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == partitions);
        }
    }

    @Override
    public void waitTopicDeletion(String topic) throws InterruptedException {
        try (Admin admin = admin()) {
            await("topic " + topic + " is gone", () -> !admin.listTopics().names().get().contains(topic));
        }
    }

    @Override
    public void waitForReadyBrokers() {
    }

    @Override
    public Type type() {
        return combined ? Type.CO_KRAFT : Type.KRAFT;
    }

    @Override
    public Map<Integer, KafkaBroker> brokers() {
        return Map.of();
    }

    @Override
    public Map<Integer, ControllerServer> controllers() {
        return Map.of();
    }

    @Override
    public Set<Integer> brokerIds() {
        return Set.of(NODE);
    }

    @Override
    public Set<Integer> controllerIds() {
        return brokerIds();
    }

    @Override
    public List<Integer> brokerBoundPorts() {
        return List.of(broker.port);
    }

    @Override
    public ClusterConfig config() {
        return config;
    }

    @Override
    public ListenerName clientListener() {
        return config.brokerListenerName();
    }

    @Override
    public ListenerName controllerListenerName() {
        return new ListenerName("CONTROLLER");
    }

    @Override
    public String bootstrapServers() {
        return broker.bootstrap();
    }

    @Override
    public String bootstrapControllers() {
        throw Assumptions.<RuntimeException>abort("no controller listener");
    }

    @Override
    public String clusterId() {
        try (Admin admin = admin()) {
            return admin.describeCluster().clusterId().get();
        } catch (InterruptedException | ExecutionException e) {
            throw new RuntimeException(e);
        }
    }

    @Override
    public Optional<FaultHandlerException> firstFatalException() {
        return Optional.empty();
    }

    @Override
    public Optional<FaultHandlerException> firstNonFatalException() {
        return Optional.empty();
    }

    @Override
    public boolean started() {
        return broker != null;
    }

    @Override
    public boolean stopped() {
        return stopped;
    }
}
