import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.util.TreeSet;
import org.apache.kafka.common.config.ConfigDef;

/** Prints the names of the broker properties that the Kafka on the class path knows. */
public class ConfigNames {
    public static void main(String[] args) throws Exception {
        for (String name : new TreeSet<>(definition().names())) {
            System.out.println(name);
        }
    }

    /** Kafka 4 keeps the definition in Java; before, the Scala object KafkaConfig holds it. */
    private static ConfigDef definition() throws Exception {
        try {
            Class<?> java = Class.forName("org.apache.kafka.server.config.AbstractKafkaConfig");
            return (ConfigDef) java.getField("CONFIG_DEF").get(null);
        } catch (ClassNotFoundException | NoSuchFieldException before) {
            Class<?> scala = Class.forName("kafka.server.KafkaConfig$");
            Object object = scala.getField("MODULE$").get(null);
            for (Field field : scala.getDeclaredFields()) {
                if (field.getType() == ConfigDef.class) {
                    field.setAccessible(true);
                    return (ConfigDef) field.get(Modifier.isStatic(field.getModifiers()) ? null : object);
                }
            }
            throw new IllegalStateException("no definition of configs");
        }
    }
}
