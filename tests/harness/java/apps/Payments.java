import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * A Kafka Streams application that keeps state, exactly once: payments (`customer,cents`, keyed by something else, so that
 * they are repartitioned) become a count per customer and minute in `counts` and a sum per customer in `sums`.
 * Nothing is cached, so each payment gives one record in both. What it does stands on standard output, a line an event.
 *
 *   Payments BOOTSTRAP APPLICATION_ID STATE_DIR
 */
public final class Payments {
    public static void main(String[] args) throws Exception {
        StreamsBuilder builder = new StreamsBuilder();
        KGroupedStream<String, Long> payments = builder
            .stream("payments", Consumed.with(Serdes.String(), Serdes.String()))
            .map((id, payment) -> {
                String[] parts = payment.split(",");
                return org.apache.kafka.streams.KeyValue.pair(parts[0], Long.parseLong(parts[1]));
            })
            .groupByKey(Grouped.<String, Long>as("by-customer").withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()));
        payments
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofHours(1)))
            .count(Materialized.as("count-store"))
            .toStream((window, count) -> window.key() + "@" + window.window().start())
            .mapValues(count -> Long.toString(count))
            .to("counts", Produced.with(Serdes.String(), Serdes.String()));
        payments
            .aggregate(() -> 0L, (customer, cents, sum) -> sum + cents,
                Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("sum-store").withKeySerde(Serdes.String()).withValueSerde(Serdes.Long()))
            .toStream()
            .mapValues(sum -> Long.toString(sum))
            .to("sums", Produced.with(Serdes.String(), Serdes.String()));

        KafkaStreams streams = new KafkaStreams(builder.build(), properties(args));
        CountDownLatch done = new CountDownLatch(1);
        streams.setStateListener((now, before) -> say("state " + now));
        streams.setGlobalStateRestoreListener(new Restored());
        streams.setUncaughtExceptionHandler(e -> {
            say("failed " + e);
            e.printStackTrace();
            done.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(20));
            say("closed");
        }));
        streams.start();
        done.await();
        System.exit(1);
    }

    private static Properties properties(String[] args) {
        Properties p = new Properties();
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        p.put(StreamsConfig.STATE_DIR_CONFIG, args[2]);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "100");
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0");
        p.put(StreamsConfig.REPARTITION_PURGE_INTERVAL_MS_CONFIG, "1000");
        p.put(StreamsConfig.producerPrefix("transaction.timeout.ms"), "5000");
        p.put(StreamsConfig.consumerPrefix("session.timeout.ms"), "6000");
        p.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), "500");
        p.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        // Small segments, cleaned at once: a store is restored from what compaction has left of its changelog.
        p.put(StreamsConfig.topicPrefix("internal.segment.bytes"), "32768");
        p.put(StreamsConfig.topicPrefix("min.cleanable.dirty.ratio"), "0.01");
        // Small bites, so that a kill falls between two transactions of many.
        p.put(StreamsConfig.consumerPrefix("max.poll.records"), "100");
        return p;
    }

    private static synchronized void say(String event) {
        System.out.println(event);
        System.out.flush();
    }

    /** Says how many records of its changelogs a store was restored from. */
    private static final class Restored implements StateRestoreListener {
        @Override
        public void onRestoreStart(TopicPartition partition, String store, long from, long to) { }

        @Override
        public void onBatchRestored(TopicPartition partition, String store, long end, long count) { }

        @Override
        public void onRestoreEnd(TopicPartition partition, String store, long count) {
            say("restored " + store + " " + partition.partition() + " " + count);
        }
    }
}
