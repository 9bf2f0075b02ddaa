import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Java clients that work in the background, riding out a broker that is killed again and again, and that remember what
 * they were told. One JSON request a line: {@code {"op":"start","kind":…,"name":…}}, {@code state}, {@code stop},
 * {@code tally}; one JSON answer a line.
 */
public final class Workers {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Map<String, Worker> WORKERS = new HashMap<>();

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
                answer.put("ok", false).put("code", e.getClass().getSimpleName()).put("message", String.valueOf(e.getMessage()));
            }
            out.println(JSON.writeValueAsString(answer));
            out.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static void dispatch(JsonNode q, ObjectNode a) throws Exception {
        switch (text(q, "op")) {
            case "start" -> {
                Worker worker = switch (text(q, "kind")) {
                    case "feeder" -> new Feeder(q);
                    case "ledger" -> new Ledger(q);
                    case "processor" -> new Processor(q);
                    case "committer" -> new Committer(q);
                    case "observer" -> new Observer(q);
                    default -> throw new IllegalArgumentException("unknown kind " + q.get("kind"));
                };
                WORKERS.put(text(q, "name"), worker);
                worker.thread.start();
            }
            case "state" -> WORKERS.get(text(q, "name")).state(a);
            case "stop" -> {
                Worker worker = WORKERS.remove(text(q, "name"));
                worker.stopping.set(true);
                worker.thread.join(120_000);
                if (worker.thread.isAlive()) throw new IllegalStateException(text(q, "name") + " does not stop");
                worker.state(a);
            }
            case "tally" -> tally(q, a);
            default -> throw new IllegalArgumentException("unknown op " + q.get("op"));
        }
    }

    private static String text(JsonNode q, String name) {
        return q.get(name).asText();
    }

    /** A thread that goes on after every failure, with new clients. */
    private abstract static class Worker {
        final JsonNode q;
        final AtomicBoolean stopping = new AtomicBoolean();
        final AtomicLong restarts = new AtomicLong();
        final Map<String, Integer> failures = new TreeMap<>();
        final Thread thread = new Thread(this::live);

        Worker(JsonNode q) {
            this.q = q;
            thread.setDaemon(true);
        }

        private void live() {
            while (true) {
                try {
                    work();
                    return;
                } catch (Exception e) {
                    note(e);
                    restarts.incrementAndGet();
                    pause(100);
                }
            }
        }

        synchronized void note(Exception e) {
            failures.merge(e.getClass().getSimpleName() + ": " + e.getMessage(), 1, Integer::sum);
        }

        synchronized void state(ObjectNode a) {
            a.put("restarts", restarts.get());
            ObjectNode noted = a.putObject("failures");
            failures.forEach(noted::put);
            tell(a);
        }

        /** Returns when it was told to stop and all is done. */
        abstract void work() throws Exception;

        abstract void tell(ObjectNode a);

        Properties base() {
            Properties p = new Properties();
            p.put("bootstrap.servers", text(q, "bootstrap"));
            p.put("reconnect.backoff.max.ms", "100");
            p.put("retry.backoff.max.ms", "100");
            return p;
        }

        KafkaProducer<String, String> producer() {
            Properties p = base();
            p.put("delivery.timeout.ms", "60000");
            p.put("request.timeout.ms", "5000");
            p.put("linger.ms", "5");
            if (q.has("transactional_id")) {
                p.put("transactional.id", text(q, "transactional_id"));
                p.put("transaction.timeout.ms", "20000");
            }
            return new KafkaProducer<>(p, new StringSerializer(), new StringSerializer());
        }

        KafkaConsumer<String, String> consumer(String isolation) {
            Properties p = base();
            p.put("isolation.level", isolation);
            p.put("auto.offset.reset", "earliest");
            p.put("enable.auto.commit", "false");
            p.put("max.poll.records", "50");
            p.put("request.timeout.ms", "5000");
            if (q.has("group")) p.put("group.id", text(q, "group"));
            if (q.path("protocol").asText("classic").equals("consumer")) p.put("group.protocol", "consumer");
            else if (q.has("group")) {
                p.put("session.timeout.ms", "8000");
                p.put("heartbeat.interval.ms", "1000");
            }
            return new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer());
        }

        List<TopicPartition> partitions() {
            List<TopicPartition> all = new ArrayList<>();
            for (int i = 0; i < q.get("partitions").asInt(); i++) all.add(new TopicPartition(text(q, "topic"), i));
            return all;
        }
    }

    private static void pause(long ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Writes the numbers from 0 on, in order, to all partitions in turn, each until it is acknowledged. */
    private static final class Feeder extends Worker {
        private final AtomicLong acked = new AtomicLong();
        private long next = 0;

        Feeder(JsonNode q) {
            super(q);
        }

        @Override
        void work() {
            try (KafkaProducer<String, String> producer = producer()) {
                while (!stopping.get()) {
                    for (int i = 0; i < 10; i++, next++) {
                        int partition = (int) (next % q.get("partitions").asInt());
                        producer.send(new ProducerRecord<>(text(q, "topic"), partition, null, Long.toString(next)), (m, e) -> {
                            if (e == null) acked.incrementAndGet();
                            else note(e);
                        });
                    }
                    pause(15);
                }
                producer.flush();
            }
        }

        @Override
        void tell(ObjectNode a) {
            a.put("acked", acked.get());
        }
    }

    /**
     * Transactions over all partitions, each committed or aborted; remembers what it was told of each. One that nobody
     * asked to be committed counts as aborted, whatever became of it.
     *
     * An abort waits for the answer to a record. The client's sender first looks whether records wait, then takes up
     * the next request of the transaction (Sender.maybeSendAndPollTransactionalRequest, 4.3): if all sends and the abort
     * come between the two, the abort goes out before its records, and these go out with the next transaction.
     */
    private static final class Ledger extends Worker {
        private final List<Integer> committed = new ArrayList<>(), aborted = new ArrayList<>(), unknown = new ArrayList<>();
        private final Random random;
        private int number = 0;

        Ledger(JsonNode q) {
            super(q);
            random = new Random(q.get("seed").asLong());
        }

        @Override
        void work() throws Exception {
            try (KafkaProducer<String, String> producer = producer()) {
                producer.initTransactions();
                while (!stopping.get()) {
                    int mine = number++;
                    List<Integer> outcome = aborted;
                    try {
                        producer.beginTransaction();
                        Future<RecordMetadata> sent = null;
                        int count = 1 + random.nextInt(8);
                        for (TopicPartition tp : partitions()) {
                            for (int i = 0; i < count; i++) {
                                String value = text(q, "name") + ":" + mine + ":" + i + ":" + count;
                                sent = producer.send(new ProducerRecord<>(tp.topic(), tp.partition(), null, value));
                            }
                        }
                        if (random.nextInt(4) == 0) producer.flush();
                        if (random.nextInt(3) == 0) {
                            try {
                                sent.get();
                            } catch (ExecutionException e) {
                                note(e);
                            }
                            producer.abortTransaction();
                        } else {
                            outcome = unknown;
                            producer.commitTransaction();
                            outcome = committed;
                        }
                    } finally {
                        synchronized (this) {
                            outcome.add(mine);
                        }
                    }
                }
            }
        }

        @Override
        void tell(ObjectNode a) {
            numbers(a.putArray("committed"), committed);
            numbers(a.putArray("aborted"), aborted);
            numbers(a.putArray("unknown"), unknown);
        }

        private static void numbers(ArrayNode into, List<Integer> from) {
            from.forEach(into::add);
        }
    }

    /** Reads as a member of a group, writes what it read, and commits both in one transaction. */
    private static final class Processor extends Worker {
        private final AtomicLong processed = new AtomicLong(), transactions = new AtomicLong();

        Processor(JsonNode q) {
            super(q);
        }

        @Override
        void work() throws Exception {
            try (KafkaConsumer<String, String> consumer = consumer("read_committed"); KafkaProducer<String, String> producer = producer()) {
                producer.initTransactions();
                consumer.subscribe(List.of(text(q, "topic")));
                while (!stopping.get()) {
                    ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                    if (records.isEmpty()) continue;
                    producer.beginTransaction();
                    for (ConsumerRecord<String, String> r : records) {
                        producer.send(new ProducerRecord<>(text(q, "to"), r.partition(), null, r.value()));
                    }
                    producer.sendOffsetsToTransaction(records.nextOffsets(), consumer.groupMetadata());
                    producer.commitTransaction();
                    processed.addAndGet(records.count());
                    transactions.incrementAndGet();
                }
            }
        }

        @Override
        void tell(ObjectNode a) {
            a.put("processed", processed.get()).put("transactions", transactions.get());
        }
    }

    /** Reads as a member of a group and commits what it has read; remembers the offsets that were acknowledged. */
    private static final class Committer extends Worker {
        private final Map<TopicPartition, Long> acked = new HashMap<>();
        private final AtomicLong commits = new AtomicLong();

        Committer(JsonNode q) {
            super(q);
        }

        @Override
        void work() {
            try (KafkaConsumer<String, String> consumer = consumer("read_committed")) {
                consumer.subscribe(List.of(text(q, "topic")));
                while (!stopping.get()) {
                    ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                    if (records.isEmpty()) continue;
                    Map<TopicPartition, OffsetAndMetadata> offsets = records.nextOffsets();
                    try {
                        consumer.commitSync(offsets);
                    } catch (CommitFailedException | org.apache.kafka.common.errors.RebalanceInProgressException e) {
                        note(e);
                        continue;
                    }
                    commits.incrementAndGet();
                    synchronized (this) {
                        offsets.forEach((tp, at) -> acked.merge(tp, at.offset(), Math::max));
                    }
                }
            }
        }

        @Override
        void tell(ObjectNode a) {
            ObjectNode offsets = a.putObject("acked");
            acked.forEach((tp, at) -> offsets.put(tp.toString(), at));
            a.put("commits", commits.get());
        }
    }

    /** Reads committed records while they are written; counts what it saw of each transaction, by partition. */
    private static final class Observer extends Worker {
        private final Map<String, Integer> seen = new TreeMap<>();
        private final Map<TopicPartition, Long> positions = new HashMap<>();

        Observer(JsonNode q) {
            super(q);
        }

        @Override
        void work() {
            try (KafkaConsumer<String, String> consumer = consumer("read_committed")) {
                consumer.assign(partitions());
                for (TopicPartition tp : partitions()) consumer.seek(tp, positions.getOrDefault(tp, 0L));
                while (true) {
                    boolean last = stopping.get();
                    // What is there when it is told to stop is read to its end.
                    Map<TopicPartition, Long> ends = last ? consumer.endOffsets(partitions(), Duration.ofSeconds(60)) : Map.of();
                    do {
                        ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                        synchronized (this) {
                            for (ConsumerRecord<String, String> r : records) {
                                String[] parts = r.value().split(":");
                                seen.merge(parts[0] + ":" + parts[1] + ":" + parts[3] + ":" + r.partition(), 1, Integer::sum);
                            }
                            for (TopicPartition tp : partitions()) positions.put(tp, consumer.position(tp));
                        }
                    } while (ends.entrySet().stream().anyMatch(e -> positions.get(e.getKey()) < e.getValue()));
                    if (last) return;
                }
            }
        }

        @Override
        void tell(ObjectNode a) {
            ObjectNode counts = a.putObject("seen");
            seen.forEach(counts::put);
        }
    }

    /** Reads numbers to the end of a topic: how many, how many different ones, their sum; and both of its ends. */
    private static void tally(JsonNode q, ObjectNode a) {
        Worker reader = new Observer(q);
        try (KafkaConsumer<String, String> committed = reader.consumer("read_committed");
             KafkaConsumer<String, String> all = reader.consumer("read_uncommitted")) {
            List<TopicPartition> partitions = reader.partitions();
            Map<TopicPartition, Long> ends = committed.endOffsets(partitions);
            a.put("stable_end", ends.values().stream().mapToLong(n -> n).sum());
            a.put("end", all.endOffsets(partitions).values().stream().mapToLong(n -> n).sum());
            if (q.path("ends_only").asBoolean()) return;
            committed.assign(partitions);
            committed.seekToBeginning(partitions);
            Map<Long, Integer> numbers = new HashMap<>();
            long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
            while (partitions.stream().anyMatch(tp -> committed.position(tp) < ends.get(tp))) {
                if (System.nanoTime() > deadline) throw new KafkaException("the end is never reached");
                for (ConsumerRecord<String, String> r : committed.poll(Duration.ofMillis(200))) {
                    numbers.merge(Long.parseLong(r.value()), 1, Integer::sum);
                }
            }
            a.put("records", numbers.values().stream().mapToLong(n -> n).sum());
            a.put("different", numbers.size());
            a.put("sum", numbers.keySet().stream().mapToLong(n -> n).sum());
        }
    }
}
