import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's own command line tools one after the other in one process, so that a test can afford many of them.
 * One JSON request a line on standard input, `{"class", "args", "stdin"}`; one answer a line: `{"exit", "out", "err"}`.
 */
public final class Tools {
    /** Unwinds a tool that has called exit. */
    private static final class Ended extends RuntimeException {
        private static final long serialVersionUID = 1;

        Ended() {
            super("exit", null, false, false);
        }
    }

    /** What the tool that runs said at its first call of exit; some catch what ends them and call it again. */
    private static Integer status;

    /** Some tools keep the stream that they found first, so the stream stays and its target changes. */
    private static final class Captured extends OutputStream {
        private ByteArrayOutputStream into = new ByteArrayOutputStream();

        @Override
        public synchronized void write(int b) {
            into.write(b);
        }

        @Override
        public synchronized void write(byte[] b, int from, int length) {
            into.write(b, from, length);
        }

        synchronized String take() {
            String text = into.toString(StandardCharsets.UTF_8);
            into = new ByteArrayOutputStream();
            return text;
        }
    }

    public static void main(String[] args) throws IOException {
        ObjectMapper json = new ObjectMapper();
        PrintStream answers = System.out;
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Captured out = new Captured(), err = new Captured();
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        List<Runnable> hooks = new ArrayList<>();
        Exit.setExitProcedure((code, message) -> end(code));
        Exit.setHaltProcedure((code, message) -> end(code));
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        for (String line; (line = requests.readLine()) != null; ) {
            JsonNode request = json.readTree(line);
            System.setIn(new ByteArrayInputStream(request.path("stdin").asText("").getBytes(StandardCharsets.UTF_8)));
            ObjectNode answer = json.createObjectNode().put("exit", run(request));
            hooks.forEach(Tools::quietly);
            hooks.clear();
            System.out.flush();
            answers.println(json.writeValueAsString(answer.put("out", out.take()).put("err", err.take())));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static void end(int code) {
        if (status == null) status = code;
        throw new Ended();
    }

    private static int run(JsonNode request) {
        List<String> args = new ArrayList<>();
        request.get("args").forEach(a -> args.add(a.asText()));
        status = null;
        try {
            Class<?> tool = Class.forName(request.get("class").asText());
            tool.getMethod("main", String[].class).invoke(null, (Object) args.toArray(new String[0]));
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Ended)) {
                e.getCause().printStackTrace();
                return 1;
            }
        } catch (ReflectiveOperationException e) {
            e.printStackTrace();
            return 1;
        }
        return status == null ? 0 : status;
    }

    /** A tool's last words. */
    private static void quietly(Runnable hook) {
        try {
            hook.run();
        } catch (Ended e) {
            // It ends as it was going to.
        }
    }
}
