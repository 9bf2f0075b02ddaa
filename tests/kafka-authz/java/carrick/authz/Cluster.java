package carrick.authz;

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
import org.apache.kafka.clients.consumer.GroupProtocol;
import org.apache.kafka.common.network.ListenerName;
import org.apache.kafka.common.test.ClusterInstance;
import org.apache.kafka.common.test.JaasUtils;
import org.apache.kafka.common.test.api.ClusterConfig;
import org.apache.kafka.common.test.api.Type;
import org.apache.kafka.server.authorizer.Authorizer;
import org.apache.kafka.server.fault.FaultHandlerException;
import org.junit.jupiter.api.Assumptions;

/** What a cluster test sees as its cluster: one broker outside of this JVM, whatever number the test asks for. */
public final class Cluster implements ClusterInstance {
    private static final int NODE = 0;
    /** Set for one broker here, whatever the test kit has them at. */
    private static final List<String> FACTORS = List.of("offsets.topic.replication.factor", "transaction.state.log.replication.factor",
        "transaction.state.log.min.isr", "share.coordinator.state.topic.replication.factor", "share.coordinator.state.topic.min.isr");

    private final ClusterConfig config;
    private final boolean combined;
    private Peer peer;
    private boolean stopped;

    public Cluster(ClusterConfig config, boolean combined) {
        this.config = config;
        this.combined = combined;
    }

    private String listener() {
        return config.brokerListenerName().value();
    }

    @Override
    public void start() {
        if (peer != null) return;
        Spec spec = new Spec();
        spec.server.putAll(config.serverProperties());
        spec.server.put("node.id", Integer.toString(NODE));
        FACTORS.forEach(name -> spec.server.put(name, "1"));
        spec.server.remove("min.insync.replicas");
        spec.server.remove("default.replication.factor");
        String protocol = config.brokerSecurityProtocol().name;
        if (protocol.equals("SASL_PLAINTEXT")) {
            withUsers(spec);
        } else if (spec.server.containsKey("principal.builder.class")) {
            // A principal of each listener (GroupAuthorizerIntegrationTest): its clients log in as that user.
            spec.listener(listener(), "SASL_PLAINTEXT").plain(listener(), "client", "client-secret", true);
            spec.server.put("super.users", "User:broker");
        } else {
            spec.listener(listener(), protocol);
        }
        peer = Peer.acquire(spec);
        peer.warm();
    }

    /** As the test kit has it for SASL_PLAINTEXT. */
    private void withUsers(Spec spec) {
        spec.listener(listener(), "SASL_PLAINTEXT");
        spec.server.putIfAbsent("sasl.enabled.mechanisms", "PLAIN");
        spec.server.putIfAbsent("authorizer.class.name", "StandardAuthorizer");
        spec.server.putIfAbsent("allow.everyone.if.no.acl.found", "false");
        spec.server.putIfAbsent("super.users", "User:" + JaasUtils.KAFKA_PLAIN_ADMIN);
        spec.plain(listener(), JaasUtils.KAFKA_PLAIN_ADMIN, JaasUtils.KAFKA_PLAIN_ADMIN_PASSWORD, true);
        spec.plain(listener(), JaasUtils.KAFKA_PLAIN_USER1, JaasUtils.KAFKA_PLAIN_USER1_PASSWORD, false);
    }

    @Override
    public void stop() {
        if (stopped) return;
        stopped = true;
        if (peer != null) peer.release();
    }

    @Override
    public void shutdownBroker(int id) {
        Assumptions.abort("the broker is not stopped here");
    }

    @Override
    public void startBroker(int id) {
        Assumptions.abort("the broker is not stopped here");
    }

    @Override
    public void waitForReadyBrokers() {
    }

    /** Tests that bring their own credentials keep them. */
    @Override
    public Map<String, Object> setClientSaslConfig(Map<String, Object> configs) {
        Map<String, Object> all = new HashMap<>(configs);
        peer.client(listener()).forEach(all::putIfAbsent);
        return all;
    }

    @Override
    public List<Authorizer> authorizers() {
        return List.of(new RemoteAuthorizer(peer));
    }

    @Override
    public void createTopic(String topic, int partitions, short replicas, Map<String, String> props) throws InterruptedException {
        Map<String, String> configs = new HashMap<>(props);
        configs.remove("min.insync.replicas");
        try (Admin admin = admin()) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
        } catch (ExecutionException e) {
            throw new RuntimeException(e.getCause());
        }
        waitTopicCreation(topic, partitions);
    }

    @Override
    public void waitTopicCreation(String topic, int partitions) throws InterruptedException {
        peer.waitTopic(topic, partitions);
    }

    @Override
    public void waitTopicDeletion(String topic) throws InterruptedException {
        peer.waitTopicDeletion(topic);
    }

    @Override
    public Set<GroupProtocol> supportedGroupProtocols() {
        return Set.of(GroupProtocol.CLASSIC, GroupProtocol.CONSUMER);
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
        return List.of(peer.port(listener()));
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
        return peer.bootstrap(listener());
    }

    @Override
    public String bootstrapControllers() {
        return peer.controllers().orElseGet(() -> Assumptions.abort("no controller listener"));
    }

    @Override
    public String clusterId() {
        try {
            return peer.admin().describeCluster().clusterId().get();
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
        return peer != null;
    }

    @Override
    public boolean stopped() {
        return stopped;
    }
}
