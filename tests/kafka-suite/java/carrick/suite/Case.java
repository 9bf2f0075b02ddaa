package carrick.suite;

import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** One invocation of a test: class, method, and which of the method's cluster configs, counted from 1. */
public record Case(String className, String method, int invocation) {
    private static final Pattern ID = Pattern.compile(
        "\\[class:([^\\]]+)\\]/\\[(?:test-template|method):(\\w+)\\([^\\]]*\\](?:/\\[test-template-invocation:#(\\d+)\\])?");
    private static volatile Set<String> selected = Set.of();

    /** From now on only these are run, by their names; none named: all. */
    static void select(Set<String> names) {
        selected = names;
    }

    /** The case behind a unique id of JUnit's, if it is one. */
    public static Optional<Case> of(String uniqueId) {
        Matcher m = ID.matcher(uniqueId);
        if (!m.find()) return Optional.empty();
        return Optional.of(new Case(nameOf(m.group(1)), m.group(2), m.group(3) == null ? 1 : Integer.parseInt(m.group(3))));
    }

    /** The name of a class in cases: the simple one; of listed classes, of which two may have the same, the path below Kafka's package. */
    static String nameOf(String full) {
        boolean isListed = System.getProperty("suite.classes") != null;
        return isListed ? full.replace("org.apache.kafka.", "").replace('.', '/') : full.substring(full.lastIndexOf('.') + 1);
    }

    public boolean isSelected() {
        return selected.isEmpty() || selected.contains(toString());
    }

    /** `Class.method#invocation`, as in expected.txt. */
    @Override
    public String toString() {
        return className + "." + method + "#" + invocation;
    }
}
