import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;

/** What {@link Peer} needs of kafka-clients 3.9 to 4.3 and says otherwise in older ones. */
final class Api {
    static void alterConfigs(AdminClient admin, ConfigResource resource, Map<String, String> configs) throws Exception {
        Collection<AlterConfigOp> ops = new ArrayList<>();
        configs.forEach((name, value) -> ops.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        admin.incrementalAlterConfigs(Map.of(resource, ops)).all().get();
    }

    static TopicDescription describeTopic(AdminClient admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    static String topicId(TopicDescription topic) {
        return topic.topicId().toString();
    }

    @SuppressWarnings({"deprecation", "removal"})
    static String state(ConsumerGroupDescription group) {
        return group.state().toString();
    }

    static String type(ConsumerGroupDescription group) {
        return group.type().toString();
    }

    /** The broker resolves the expression: clients from 4.0 on. */
    static void subscribe(KafkaConsumer<byte[], byte[]> consumer, String regex, ConsumerRebalanceListener listener)
            throws Exception {
        Class<?> pattern = Class.forName("org.apache.kafka.clients.consumer.SubscriptionPattern");
        consumer.getClass().getMethod("subscribe", pattern, ConsumerRebalanceListener.class)
            .invoke(consumer, pattern.getConstructor(String.class).newInstance(regex), listener);
    }

    static void alterOffsets(AdminClient admin, String group, Map<TopicPartition, OffsetAndMetadata> to) throws Exception {
        admin.alterConsumerGroupOffsets(group, to).all().get();
    }

    static void setPassword(AdminClient admin, String user, String mechanism, String password) throws Exception {
        ScramCredentialInfo info = new ScramCredentialInfo(ScramMechanism.fromMechanismName(mechanism), 4096);
        admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(user, info, password))).all().get();
    }

    static OffsetAndMetadata committed(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition) {
        return consumer.committed(Set.of(partition)).get(partition);
    }

    static void sendOffsets(KafkaProducer<byte[], byte[]> producer, Map<TopicPartition, OffsetAndMetadata> offsets,
                            KafkaConsumer<byte[], byte[]> consumer, String group) {
        producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
    }

    /** Moves a partition to `replicas` and elects the first of them as its leader. */
    static void reassign(AdminClient admin, TopicPartition partition, List<Integer> replicas) throws Exception {
        NewPartitionReassignment to = new NewPartitionReassignment(replicas);
        admin.alterPartitionReassignments(Map.of(partition, Optional.of(to))).all().get();
        while (!admin.listPartitionReassignments().reassignments().get().isEmpty()) Thread.sleep(20);
        try {
            admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).all().get();
        } catch (ExecutionException e) {
            if (!(e.getCause() instanceof ElectionNotNeededException)) throw e;
        }
    }
}
