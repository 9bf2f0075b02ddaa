package carrick.suite;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.jar.JarFile;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Runs the classes that it is told to on standard input, one after the other. A line there is `MODE CLASS CASE…`, where no case means
 * all of the class; `classes` lists what there is. Lines on standard output, separated by tabs: `case`, its name, `passed`, `failed` or
 * `aborted`, milliseconds, the first line of its error; `class` and a name; `done` after each line of input.
 */
public final class Suite implements TestExecutionListener {
    private static volatile boolean shared;

    private final PrintStream out;
    private long startedMs;

    private Suite(PrintStream out) {
        this.out = out;
    }

    /** Whether the tests that come may use a broker one after the other. */
    public static boolean isShared() {
        return shared;
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err);
        Suite suite = new Suite(out);
        Map<String, String> classes = classes();
        BlockingQueue<String> lines = new LinkedBlockingQueue<>();
        new Thread(() -> readLines(lines)).start();
        while (true) {
            String[] words = lines.take().split(" ");
            if (words[0].equals("classes")) {
                classes.keySet().forEach(c -> out.println("class\t" + c));
            } else {
                shared = words[0].equals("shared");
                Case.select(Set.copyOf(Arrays.asList(words).subList(2, words.length)));
                LauncherFactory.create().execute(request(classes.get(words[1])), suite);
            }
            out.println("done");
            out.flush();
        }
    }

    /** At the end of the input everything ends, whatever runs. */
    private static void readLines(BlockingQueue<String> lines) {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try {
            for (String line; (line = in.readLine()) != null; ) lines.add(line);
        } catch (IOException e) {
            System.err.println("standard input: " + e);
        }
        ProcessHandle.current().descendants().forEach(ProcessHandle::destroyForcibly);
        Runtime.getRuntime().halt(0);
    }

    private static LauncherDiscoveryRequest request(String className) {
        return LauncherDiscoveryRequestBuilder.request()
            .selectors(selectClass(className))
            .configurationParameter("junit.jupiter.execution.timeout.default", System.getProperty("suite.timeout"))
            .configurationParameter("junit.jupiter.extensions.autodetection.enabled", "true")
            .build();
    }

    /** Names and full names of the classes: those of `suite.classes`, or those in Kafka's jar of client tests. */
    private static Map<String, String> classes() throws IOException {
        Map<String, String> names = new TreeMap<>();
        String listed = System.getProperty("suite.classes");
        if (listed != null) {
            for (String full : listed.split(",")) names.put(Case.nameOf(full), full);
            return names;
        }
        for (String entry : System.getProperty("java.class.path").split(":")) {
            if (!entry.contains("kafka-clients-integration-tests-")) continue;
            try (JarFile jar = new JarFile(entry)) {
                jar.stream().map(e -> e.getName()).filter(n -> n.endsWith("Test.class") && !n.contains("$")).forEach(n -> {
                    String full = n.substring(0, n.length() - ".class".length()).replace('/', '.');
                    names.put(Case.nameOf(full), full);
                });
            }
        }
        return names;
    }

    @Override
    public void executionStarted(TestIdentifier test) {
        if (test.isTest()) startedMs = System.currentTimeMillis();
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
        if (!test.isTest() && result.getThrowable().isEmpty()) return;
        String name = Case.of(test.getUniqueId()).map(Case::toString).orElse(test.getUniqueId());
        String status = switch (result.getStatus()) {
            case SUCCESSFUL -> "passed";
            case FAILED -> "failed";
            case ABORTED -> "aborted";
        };
        result.getThrowable().ifPresent(e -> {
            System.err.println("==== " + name + " " + status);
            e.printStackTrace();
        });
        String error = result.getThrowable().map(Suite::firstLine).orElse("");
        out.println(String.join("\t", "case", name, status, Long.toString(System.currentTimeMillis() - startedMs), error));
        out.flush();
    }

    private static String firstLine(Throwable e) {
        return e.toString().lines().findFirst().orElse("").replace('\t', ' ');
    }
}
