// Messages as one release of kafka-clients writes them: reads lines `NAME VERSION JSON`, prints the bytes of each body in hex.
// NAME is that of a message (`OffsetCommitRequest`), JSON as in its published definition.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

public class Wire {
    public static void main(String[] args) throws Exception {
        var mapper = new ObjectMapper();
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line; (line = in.readLine()) != null; ) {
            String[] parts = line.split(" ", 3);
            short version = Short.parseShort(parts[1]);
            var converter = Class.forName("org.apache.kafka.common.message." + parts[0] + "DataJsonConverter");
            var read = converter.getMethod("read", JsonNode.class, short.class);
            var message = (Message) read.invoke(null, mapper.readTree(parts[2]), version);
            var cache = new ObjectSerializationCache();
            var body = ByteBuffer.allocate(message.size(cache, version));
            message.write(new ByteBufferAccessor(body), cache, version);
            var hex = new StringBuilder();
            for (byte each : body.array()) {
                hex.append(String.format("%02x", each));
            }
            out.println(hex);
        }
    }
}
