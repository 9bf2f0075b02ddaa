package carrick.suite;

import java.nio.file.Files;
import java.nio.file.Path;
import kafka.Kafka;
import kafka.tools.StorageTool;
import org.apache.kafka.common.Uuid;

/** A real Kafka, formatted at its first start, in one JVM. Arguments: its properties file, its data folder. */
public final class KafkaHost {
    public static void main(String[] args) throws Exception {
        if (!Files.exists(Path.of(args[1], "meta.properties"))) {
            String[] format = {"format", "-t", Uuid.randomUuid().toString(), "-c", args[0]};
            StorageTool.execute(format, System.out);
        }
        Kafka.main(new String[] {args[0]});
    }
}
