package carrick.suite;

import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * A broker process with a port and a data folder of its own, which it keeps over restarts. `suite.command` starts it: it is given
 * the folder, in which `test.properties` stands, the port that tells when it is there, and another free port, and becomes the broker.
 */
public final class Broker {
    /** What says how many brokers, controllers and listeners there are, and who may use them: not the test's to say here. */
    private static final List<String> OURS = List.of("listeners", "advertised.", "process.roles", "node.id", "broker.id", "controller",
        "log.dir", "offsets.topic.replication", "transaction.state.log.replication", "transaction.state.log.min.isr", "share.", "group.share.",
        "streams.", "group.streams.", "min.insync", "default.replication", "super.users", "authorizer", "principal");
    private static final long START_MS = 60_000;
    private static final long STOP_MS = 20_000;

    final int port;
    private final Path folder;
    private Process process;

    /** With a test's config, and one listener. */
    static Broker of(Map<String, String> config) throws IOException {
        Properties p = new Properties();
        config.forEach((k, v) -> {
            if (OURS.stream().noneMatch(k::startsWith)) p.put(k, v);
        });
        p.put("node.id", "0");
        return new Broker(p, freePort());
    }

    /** With these properties; one of its listeners has the port. */
    public Broker(Properties p, int port) throws IOException {
        this.port = port;
        folder = Files.createTempDirectory("kafka-suite");
        p.put("log.dirs", folder.resolve("data").toString());
        try (OutputStream out = Files.newOutputStream(folder.resolve("test.properties"))) {
            p.store(out, null);
        }
    }

    public static int freePort() throws IOException {
        try (ServerSocket s = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return s.getLocalPort();
        }
    }

    String bootstrap() {
        return "127.0.0.1:" + port;
    }

    public Path folder() {
        return folder;
    }

    public boolean isRunning() {
        return process != null && process.isAlive();
    }

    /** Starts the process, if it isn't running, and waits until it accepts. */
    public void start() throws IOException, InterruptedException {
        if (isRunning()) return;
        var log = ProcessBuilder.Redirect.appendTo(folder.resolve("log").toFile());
        process = new ProcessBuilder(System.getProperty("suite.command"), folder.toString(), Integer.toString(port), Integer.toString(freePort()))
            .redirectOutput(log).redirectErrorStream(true).start();
        for (long until = System.currentTimeMillis() + START_MS; System.currentTimeMillis() < until; Thread.sleep(20)) {
            if (!process.isAlive()) throw new IOException("the broker ended at its start: " + Files.readString(folder.resolve("log")));
            try (Socket s = new Socket()) {
                s.connect(new InetSocketAddress("127.0.0.1", port), 1000);
                return;
            } catch (IOException e) {
                // Not yet.
            }
        }
        throw new IOException("the broker did not start");
    }

    /** Asks the process to end and waits for it; after a while it is killed. */
    void stop() throws InterruptedException {
        if (process == null) return;
        process.destroy();
        if (!process.waitFor(STOP_MS, TimeUnit.MILLISECONDS)) kill();
    }

    /** Ends the process at once. */
    public void kill() throws InterruptedException {
        if (process == null) return;
        process.destroyForcibly().waitFor();
    }

    public void tellLog() {
        try {
            System.err.println("==== log of the broker\n" + Files.readString(folder.resolve("log")));
        } catch (IOException e) {
            System.err.println("==== the broker's log cannot be read: " + e);
        }
    }

    /** Removes the folder; the process must have ended. */
    public void remove() throws IOException {
        try (Stream<Path> all = Files.walk(folder)) {
            all.sorted(Comparator.reverseOrder()).forEach(f -> f.toFile().delete());
        }
    }
}
