import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * The Java client as a test peer: one JSON request a line on standard input, one JSON answer a line on standard output.
 * The operations are those of `harness::peer`; the peers of the other libraries speak the same lines.
 * It compiles with every release of the client that is tested; what differs between them is in `api/<release>/Api.java`.
 */
public final class Peer {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Map<String, Member> MEMBERS = new ConcurrentHashMap<>();
    private static final Map<String, KafkaProducer<byte[], byte[]>> OPEN = new HashMap<>();
    private static final Map<String, KafkaProducer<byte[], byte[]>> KEPT = new HashMap<>();

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            ObjectNode answer = JSON.createObjectNode();
            try {
                dispatch(JSON.readTree(line), answer);
                answer.put("ok", true);
            } catch (Throwable e) {
                Throwable cause = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
                answer.put("ok", false).put("message", String.valueOf(cause.getMessage()));
                answer.put("code", cause instanceof ApiException ? Errors.forException(cause).name() : cause.getClass().getSimpleName());
                answer.put("kind", Security.kind(cause));
            }
            out.println(JSON.writeValueAsString(answer));
            out.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static void dispatch(JsonNode q, ObjectNode a) throws Exception {
        switch (q.get("op").asText()) {
            case "produce" -> produce(q, a);
            case "transaction" -> transaction(q, a);
            case "process" -> process(q, a);
            case "consume" -> consume(q, a);
            case "offsets_for_times" -> offsetsForTimes(q, a);
            case "offsets" -> offsets(q, a);
            case "create_topic" -> createTopic(q);
            case "create_partitions" -> createPartitions(q);
            case "delete_records" -> deleteRecords(q);
            case "delete_topic" -> withAdmin(q, admin -> admin.deleteTopics(List.of(text(q, "topic"))).all().get());
            case "alter_topic" -> alterTopic(q);
            case "describe_topic" -> describeTopic(q, a);
            case "alter_configs" -> alterTopic(q);
            case "describe_configs" -> describeConfigs(q, a);
            case "list_groups" -> listGroups(q, a);
            case "describe_group" -> describeGroup(q, a);
            case "delete_group" -> withAdmin(q, admin -> admin.deleteConsumerGroups(List.of(text(q, "group"))).all().get());
            case "group_offsets" -> groupOffsets(q, a);
            case "alter_offsets" -> alterOffsets(q);
            case "commit_groups" -> commitGroups(q);
            case "group_read" -> groupRead(q, a);
            case "reassign" -> reassign(q);
            case "commit" -> commit(q);
            case "committed" -> committed(q, a);
            case "member_start" -> memberStart(q);
            case "member_state" -> memberState(q, a);
            case "member_stop" -> MEMBERS.remove(text(q, "name")).close();
            case "acl" -> withAdmin(q, admin -> Security.changeAcl(admin, q));
            case "acls" -> withAdmin(q, admin -> Security.acls(admin, a.putArray("acls")));
            case "set_password" -> withAdmin(q, admin -> Api.setPassword(admin, text(q, "user"), text(q, "mechanism"), text(q, "password")));
            case "version" -> a.put("version", AppInfoParser.getVersion());
            default -> throw new IllegalArgumentException("unknown op " + q.get("op"));
        }
    }

    private interface AdminCall {
        void run(AdminClient admin) throws Exception;
    }

    private static void withAdmin(JsonNode q, AdminCall call) throws Exception {
        try (AdminClient admin = AdminClient.create(base(q))) {
            call.run(admin);
        }
    }

    private static String text(JsonNode q, String name) {
        return q.get(name).asText();
    }

    private static Properties base(JsonNode q) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", text(q, "bootstrap"));
        if (q.has("security")) Security.into(q.get("security"), p);
        if (q.has("config")) q.get("config").properties().forEach(e -> p.put(e.getKey(), e.getValue().asText()));
        return p;
    }

    private static KafkaProducer<byte[], byte[]> producer(JsonNode q) throws Exception {
        Properties p = base(q);
        p.putIfAbsent("max.request.size", "20000000");
        // The default since 3.0. What is acknowledged by 1 is read by others after the next flush only.
        p.putIfAbsent("acks", "all");
        // A producer whose connections are refused after its first record says nothing before that time.
        if (q.has("security")) {
            p.putIfAbsent("delivery.timeout.ms", "8000");
            p.putIfAbsent("request.timeout.ms", "6000");
        }
        if (q.has("idempotent")) p.put("enable.idempotence", text(q, "idempotent"));
        if (q.has("compression")) p.put("compression.type", text(q, "compression"));
        if (q.has("transactional_id")) p.put("transactional.id", text(q, "transactional_id"));
        return new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static void produce(JsonNode q, ObjectNode a) throws Exception {
        if (q.has("keep")) {
            String name = text(q, "keep");
            if (!KEPT.containsKey(name)) KEPT.put(name, producer(q));
            send(KEPT.get(name), q, a);
            return;
        }
        try (KafkaProducer<byte[], byte[]> producer = producer(q)) {
            send(producer, q, a);
        }
    }

    /** Outcome `open` leaves the transaction open and the producer alive until `commit`/`abort` with the same id, or the peer's end. */
    private static void transaction(JsonNode q, ObjectNode a) throws Exception {
        String id = text(q, "transactional_id");
        KafkaProducer<byte[], byte[]> producer = OPEN.remove(id);
        if (producer == null) {
            producer = producer(q);
            producer.initTransactions();
            producer.beginTransaction();
        }
        send(producer, q, a);
        switch (text(q, "outcome")) {
            case "commit" -> producer.commitTransaction();
            case "abort" -> producer.abortTransaction();
            default -> {
                OPEN.put(id, producer);
                return;
            }
        }
        producer.close();
    }

    /** Reads `topic` as a member of `group` to its end and, in one transaction, writes it all to `to` with the group's offsets. */
    private static void process(JsonNode q, ObjectNode a) throws Exception {
        Properties p = base(q);
        p.put("transactional.id", text(q, "transactional_id"));
        String topic = text(q, "topic"), to = text(q, "to");
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(q);
             KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            consumer.subscribe(List.of(topic));
            TopicPartition tp = partition(q);
            long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
            ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(100));
            while (!consumer.assignment().contains(tp) && System.nanoTime() < deadline) records = consumer.poll(Duration.ofMillis(100));
            long end = consumer.endOffsets(List.of(tp)).get(tp);
            int count = 0;
            producer.beginTransaction();
            while (true) {
                for (ConsumerRecord<byte[], byte[]> r : records) {
                    producer.send(new ProducerRecord<>(to, null, r.timestamp(), r.key(), r.value(), r.headers()));
                    count++;
                }
                if (consumer.position(tp) >= end) break;
                if (System.nanoTime() > deadline) throw new IllegalStateException("still at " + consumer.position(tp) + " of " + end);
                records = consumer.poll(Duration.ofMillis(100));
            }
            // An abort would drop what has not been sent.
            producer.flush();
            Api.sendOffsets(producer, Map.of(tp, new OffsetAndMetadata(end)), consumer, text(q, "group"));
            if (text(q, "outcome").equals("commit")) producer.commitTransaction();
            else producer.abortTransaction();
            a.put("count", count);
        }
    }

    private static void send(KafkaProducer<byte[], byte[]> producer, JsonNode q, ObjectNode a) throws Exception {
        Random random = new Random(q.path("seed").asLong(1));
        int count = q.get("count").asInt(), keys = q.path("keys").asInt(0);
        int min = q.path("min_bytes").asInt(10), max = q.path("max_bytes").asInt(200);
        Integer partition = q.has("partition") ? q.get("partition").asInt() : null;
        boolean tombstones = q.path("tombstones").asBoolean();
        double pauseMs = q.path("spread_ms").asDouble(0) / Math.max(1, count);
        MessageDigest content = MessageDigest.getInstance("SHA-256");
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        long started = System.nanoTime();
        for (int i = 0; i < count; i++) {
            byte[] value = value(random, min + (max > min ? random.nextInt(max - min + 1) : 0), i);
            if (tombstones && i % 10 == 9) value = null;
            byte[] key = keys == 0 || (tombstones && i % 2 == 0) ? null : ("key-" + random.nextInt(keys)).getBytes(StandardCharsets.UTF_8);
            Long timestamp = q.has("timestamp_ms") ? Long.valueOf(q.get("timestamp_ms").asLong() + i * q.path("step_ms").asLong(1)) : null;
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(text(q, "topic"), partition, timestamp, key, value);
            if (i % 3 == 0) record.headers().add("n", Integer.toString(i).getBytes(StandardCharsets.UTF_8));
            if (timestamp != null) content(content, timestamp, key, value, record.headers());
            sent.add(producer.send(record));
            while (System.nanoTime() - started < i * pauseMs * 1e6) Thread.sleep(1);
        }
        producer.flush();
        long first = Long.MAX_VALUE, last = -1;
        for (Future<RecordMetadata> f : sent) {
            long offset = f.get().offset();
            first = Math.min(first, offset);
            last = Math.max(last, offset);
        }
        a.put("first_offset", first).put("last_offset", last).put("acked", sent.size());
        a.put("content", HexFormat.of().formatHex(content.digest()));
    }

    /** Half text that compresses, half noise that does not; one byte is a legal size. */
    private static byte[] value(Random random, int size, int index) {
        byte[] value = new byte[size];
        if (index % 2 == 0) random.nextBytes(value);
        else {
            String text = "{\"order\":" + index + ",\"state\":\"paid\",\"currency\":\"EUR\"}";
            for (int i = 0; i < size; i++) value[i] = (byte) text.charAt(i % text.length());
        }
        return value;
    }

    private static KafkaConsumer<byte[], byte[]> consumer(JsonNode q) throws Exception {
        return consumer(q, new Properties());
    }

    private static KafkaConsumer<byte[], byte[]> consumer(JsonNode q, Properties more) throws Exception {
        Properties p = base(q);
        p.putAll(more);
        p.putIfAbsent("auto.offset.reset", "earliest");
        p.putIfAbsent("enable.auto.commit", "false");
        p.putIfAbsent("max.partition.fetch.bytes", "8388608");
        if (q.has("isolation")) p.put("isolation.level", text(q, "isolation"));
        if (q.has("group")) p.put("group.id", text(q, "group"));
        return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static TopicPartition partition(JsonNode q) {
        return new TopicPartition(text(q, "topic"), q.path("partition").asInt(0));
    }

    /** Reads one partition from `from` (default: its beginning) to the end that the broker names, and digests what it saw. */
    private static void consume(JsonNode q, ObjectNode a) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(q)) {
            TopicPartition tp = partition(q);
            consumer.assign(List.of(tp));
            if (q.has("from")) consumer.seek(tp, q.get("from").asLong());
            else consumer.seekToBeginning(List.of(tp));
            long end = consumer.endOffsets(List.of(tp)).get(tp);
            long deadline = System.nanoTime() + Duration.ofMillis(q.path("timeout_ms").asLong(60_000)).toNanos();
            MessageDigest digest = MessageDigest.getInstance("SHA-256"), content = MessageDigest.getInstance("SHA-256");
            long count = 0, first = -1, last = -1;
            while (consumer.position(tp) < end) {
                if (System.nanoTime() > deadline) throw new IllegalStateException("still at " + consumer.position(tp) + " of " + end);
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                    if (first < 0) first = r.offset();
                    last = r.offset();
                    count++;
                    update(digest, r);
                    content(content, r.timestamp(), r.key(), r.value(), r.headers());
                }
            }
            a.put("count", count).put("first_offset", first).put("last_offset", last).put("end_offset", end);
            a.put("digest", HexFormat.of().formatHex(digest.digest()));
            a.put("content", HexFormat.of().formatHex(content.digest()));
        }
    }

    private static void update(MessageDigest digest, ConsumerRecord<byte[], byte[]> r) {
        digest.update(ByteBuffer.allocate(24).putLong(r.offset()).putLong(r.timestamp())
            .putInt(r.timestampType().id).putInt(r.leaderEpoch().orElse(-1)).array());
        part(digest, r.key());
        part(digest, r.value());
        for (Header h : r.headers()) {
            part(digest, h.key().getBytes(StandardCharsets.UTF_8));
            part(digest, h.value());
        }
    }

    /** What every library's peer digests alike: timestamp, key, value and headers of each record, in their order. */
    private static void content(MessageDigest digest, long timestamp, byte[] key, byte[] value, Headers headers) {
        digest.update(ByteBuffer.allocate(8).putLong(timestamp).array());
        part(digest, key);
        part(digest, value);
        Header[] all = headers.toArray();
        digest.update(ByteBuffer.allocate(4).putInt(all.length).array());
        for (Header h : all) {
            part(digest, h.key().getBytes(StandardCharsets.UTF_8));
            part(digest, h.value());
        }
    }

    private static void part(MessageDigest digest, byte[] bytes) {
        digest.update(ByteBuffer.allocate(4).putInt(bytes == null ? -1 : bytes.length).array());
        if (bytes != null) digest.update(bytes);
    }

    private static void offsetsForTimes(JsonNode q, ObjectNode a) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(q)) {
            ArrayNode found = a.putArray("offsets");
            for (JsonNode t : q.get("timestamps")) {
                var hit = consumer.offsetsForTimes(Map.of(partition(q), t.asLong())).get(partition(q));
                if (hit == null) found.add(-1);
                else found.add(hit.offset() + "@" + hit.timestamp());
            }
        }
    }

    private static void offsets(JsonNode q, ObjectNode a) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(q)) {
            TopicPartition tp = partition(q);
            a.put("beginning", consumer.beginningOffsets(List.of(tp)).get(tp)).put("end", consumer.endOffsets(List.of(tp)).get(tp));
        }
    }

    private static void createTopic(JsonNode q) throws Exception {
        Map<String, String> configs = new HashMap<>();
        q.path("configs").properties().forEach(e -> configs.put(e.getKey(), e.getValue().asText()));
        NewTopic topic;
        if (q.has("assignment")) {
            Map<Integer, List<Integer>> replicas = new HashMap<>();
            for (JsonNode p : q.get("assignment")) replicas.put(replicas.size(), ids(p));
            topic = new NewTopic(text(q, "topic"), replicas);
        } else {
            topic = new NewTopic(text(q, "topic"), q.path("partitions").asInt(1), (short) q.path("replication").asInt(1));
        }
        withAdmin(q, admin -> admin.createTopics(List.of(topic.configs(configs))).all().get());
    }

    private static List<Integer> ids(JsonNode nodes) {
        List<Integer> ids = new ArrayList<>();
        nodes.forEach(n -> ids.add(n.asInt()));
        return ids;
    }

    private static void createPartitions(JsonNode q) throws Exception {
        withAdmin(q, admin -> admin.createPartitions(Map.of(text(q, "topic"), NewPartitions.increaseTo(q.get("total").asInt()))).all().get());
    }

    private static void deleteRecords(JsonNode q) throws Exception {
        RecordsToDelete before = RecordsToDelete.beforeOffset(q.get("before").asLong());
        withAdmin(q, admin -> admin.deleteRecords(Map.of(partition(q), before)).all().get());
    }

    private static void alterTopic(JsonNode q) throws Exception {
        Map<String, String> configs = new HashMap<>();
        q.get("configs").properties().forEach(e -> configs.put(e.getKey(), e.getValue().asText()));
        withAdmin(q, admin -> Api.alterConfigs(admin, new ConfigResource(ConfigResource.Type.TOPIC, text(q, "topic")), configs));
    }

    private static void describeTopic(JsonNode q, ObjectNode a) throws Exception {
        withAdmin(q, admin -> {
            TopicDescription d = Api.describeTopic(admin, text(q, "topic"));
            a.put("topic_id", Api.topicId(d));
            a.put("partitions", d.partitions().size());
            ArrayNode leaders = a.putArray("leaders");
            ArrayNode replicas = a.putArray("in_sync");
            d.partitions().forEach(p -> {
                leaders.add(p.leader() == null ? -1 : p.leader().id());
                replicas.add(p.isr().size());
            });
        });
    }

    private static void describeConfigs(JsonNode q, ObjectNode a) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, text(q, "topic"));
        ObjectNode configs = a.putObject("configs");
        withAdmin(q, admin -> admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()
            .forEach(e -> configs.put(e.name(), e.value())));
    }

    @SuppressWarnings({"deprecation", "removal"})
    private static void listGroups(JsonNode q, ObjectNode a) throws Exception {
        ArrayNode groups = a.putArray("groups");
        withAdmin(q, admin -> admin.listConsumerGroups().all().get().forEach(g -> groups.add(g.groupId())));
    }

    private static void describeGroup(JsonNode q, ObjectNode a) throws Exception {
        String group = text(q, "group");
        withAdmin(q, admin -> {
            ConsumerGroupDescription d = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            a.put("state", Api.state(d)).put("type", Api.type(d)).put("members", d.members().size());
        });
    }

    private static void groupOffsets(JsonNode q, ObjectNode a) throws Exception {
        ObjectNode offsets = a.putObject("offsets");
        withAdmin(q, admin -> admin.listConsumerGroupOffsets(text(q, "group")).partitionsToOffsetAndMetadata().get()
            .forEach((tp, at) -> offsets.put(tp.toString(), at.offset())));
    }

    private static void alterOffsets(JsonNode q) throws Exception {
        Optional<Integer> epoch = q.has("leader_epoch") ? Optional.of(q.get("leader_epoch").asInt()) : Optional.empty();
        OffsetAndMetadata to = new OffsetAndMetadata(q.get("offset").asLong(), epoch, q.path("metadata").asText(""));
        withAdmin(q, admin -> Api.alterOffsets(admin, text(q, "group"), Map.of(partition(q), to)));
    }

    /** `groups` groups, `group` and a number, commit the same offset. */
    private static void commitGroups(JsonNode q) throws Exception {
        OffsetAndMetadata to = new OffsetAndMetadata(q.get("offset").asLong(), q.path("metadata").asText(""));
        withAdmin(q, admin -> {
            for (int n = 0; n < q.get("groups").asInt(); n++) Api.alterOffsets(admin, text(q, "group") + n, Map.of(partition(q), to));
        });
    }

    /** Reads `topic` as a member of `group`, `count` records or to the end, and commits just that: what it read, as `partition:offset`. */
    private static void groupRead(JsonNode q, ObjectNode a) throws Exception {
        Properties more = new Properties();
        if (q.has("protocol")) more.put("group.protocol", text(q, "protocol"));
        long most = q.path("count").asLong(Long.MAX_VALUE);
        ArrayNode read = a.putArray("read");
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(q, more)) {
            consumer.subscribe(List.of(text(q, "topic")));
            Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
            while (read.size() < most && !isAtEnd(consumer)) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    if (read.size() == most) break;
                    read.add(record.partition() + ":" + record.offset());
                    TopicPartition at = new TopicPartition(record.topic(), record.partition());
                    positions.put(at, new OffsetAndMetadata(record.offset() + 1, record.leaderEpoch(), text(q, "group")));
                }
            }
            consumer.commitSync(positions);
        }
    }

    private static boolean isAtEnd(KafkaConsumer<byte[], byte[]> consumer) {
        Collection<TopicPartition> all = consumer.assignment();
        if (all.isEmpty()) return false;
        Map<TopicPartition, Long> ends = consumer.endOffsets(all);
        return all.stream().allMatch(at -> consumer.position(at) >= ends.get(at));
    }

    private static void reassign(JsonNode q) throws Exception {
        withAdmin(q, admin -> Api.reassign(admin, partition(q), ids(q.get("replicas"))));
    }

    private static void commit(JsonNode q) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(q)) {
            consumer.assign(List.of(partition(q)));
            consumer.commitSync(Map.of(partition(q), new OffsetAndMetadata(q.get("offset").asLong(), q.path("metadata").asText(""))));
        }
    }

    private static void committed(JsonNode q, ObjectNode a) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(q)) {
            OffsetAndMetadata found = Api.committed(consumer, partition(q));
            a.put("offset", found == null ? -1 : found.offset()).put("metadata", found == null ? "" : found.metadata());
        }
    }

    private static void memberStart(JsonNode q) throws Exception {
        Properties more = new Properties();
        if (q.has("protocol")) more.put("group.protocol", text(q, "protocol"));
        else if (q.has("session_ms")) {
            more.put("session.timeout.ms", text(q, "session_ms"));
            more.put("heartbeat.interval.ms", Integer.toString(q.get("session_ms").asInt() / 10));
        }
        Member member = new Member(consumer(q, more), q);
        MEMBERS.put(text(q, "name"), member);
        member.start();
    }

    private static void memberState(JsonNode q, ObjectNode a) {
        Member member = MEMBERS.get(text(q, "name"));
        ArrayNode assigned = a.putArray("assigned");
        member.assigned.stream().map(TopicPartition::partition).sorted().forEach(assigned::add);
        a.put("consumed", member.consumed.get()).put("failure", member.failure == null ? null : member.failure.toString());
        a.put("failure_kind", member.failure == null ? null : Security.kind(member.failure));
    }

    /** A group member: polls, and commits what it has seen after every poll. */
    private static final class Member extends Thread {
        private final KafkaConsumer<byte[], byte[]> consumer;
        private final AtomicBoolean stop = new AtomicBoolean();
        private final AtomicLong consumed = new AtomicLong();
        private volatile List<TopicPartition> assigned = List.of();
        private volatile Throwable failure;

        Member(KafkaConsumer<byte[], byte[]> consumer, JsonNode q) throws Exception {
            this.consumer = consumer;
            setDaemon(true);
            ConsumerRebalanceListener listener = new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> gone) {
                    refresh();
                }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> come) {
                    refresh();
                }
            };
            if (q.has("regex")) Api.subscribe(consumer, text(q, "regex"), listener);
            else consumer.subscribe(List.of(text(q, "topic")), listener);
        }

        private void refresh() {
            assigned = List.copyOf(consumer.assignment());
        }

        @Override
        public void run() {
            try {
                while (!stop.get()) turn();
                consumer.close();
            } catch (Throwable e) {
                failure = e;
            }
        }

        /** A right that is missing may be given: it goes on. */
        private void turn() throws InterruptedException {
            try {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(50));
                refresh();
                consumed.addAndGet(records.count());
                if (!records.isEmpty()) consumer.commitAsync();
            } catch (AuthorizationException e) {
                failure = e;
                Thread.sleep(100);
            }
        }

        void close() throws InterruptedException {
            stop.set(true);
            join(30_000);
        }
    }
}
