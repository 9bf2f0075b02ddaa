import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** What {@link Peer} needs of kafka-clients 2.1, the oldest line that Kafka 4 still supports. */
final class Api {
    /** AlterConfigs: it sets these and takes all others away. */
    static void alterConfigs(AdminClient admin, ConfigResource resource, Map<String, String> configs) throws Exception {
        List<ConfigEntry> all = new ArrayList<>();
        configs.forEach((name, value) -> all.add(new ConfigEntry(name, value)));
        admin.alterConfigs(Map.of(resource, new Config(all))).all().get();
    }

    static TopicDescription describeTopic(AdminClient admin, String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).all().get().get(topic);
    }

    static String topicId(TopicDescription topic) {
        return null;
    }

    static String state(ConsumerGroupDescription group) {
        return group.state().toString();
    }

    /** It knows no other. */
    static String type(ConsumerGroupDescription group) {
        return "Classic";
    }

    /** The client itself resolves the expression. */
    static void subscribe(KafkaConsumer<byte[], byte[]> consumer, String regex, ConsumerRebalanceListener listener) {
        consumer.subscribe(Pattern.compile(regex), listener);
    }

    static void alterOffsets(AdminClient admin, String group, Map<TopicPartition, OffsetAndMetadata> to) {
        throw new UnsupportedOperationException("the client cannot set a group's offsets");
    }

    static void setPassword(AdminClient admin, String user, String mechanism, String password) {
        throw new UnsupportedOperationException("the client cannot set a password");
    }

    static OffsetAndMetadata committed(KafkaConsumer<byte[], byte[]> consumer, TopicPartition partition) {
        return consumer.committed(partition);
    }

    static void sendOffsets(KafkaProducer<byte[], byte[]> producer, Map<TopicPartition, OffsetAndMetadata> offsets,
                            KafkaConsumer<byte[], byte[]> consumer, String group) {
        producer.sendOffsetsToTransaction(offsets, group);
    }

    static void reassign(AdminClient admin, TopicPartition partition, List<Integer> replicas) {
        throw new UnsupportedOperationException("the client cannot reassign");
    }
}
