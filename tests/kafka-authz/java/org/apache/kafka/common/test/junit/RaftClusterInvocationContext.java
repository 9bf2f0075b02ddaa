package org.apache.kafka.common.test.junit;

import carrick.authz.Cluster;
import carrick.authz.Peer;
import java.util.List;
import org.apache.kafka.common.test.api.ClusterConfig;
import org.junit.jupiter.api.extension.AfterTestExecutionCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.Extension;
import org.junit.jupiter.api.extension.TestTemplateInvocationContext;

/** Shadows kafka-test-common-runtime's class of the same name: every cluster test gets a broker outside of this JVM. */
public class RaftClusterInvocationContext implements TestTemplateInvocationContext {
    private final String name;
    private final ClusterConfig config;
    private final boolean combined;

    public RaftClusterInvocationContext(String name, ClusterConfig config, boolean combined) {
        this.name = name;
        this.config = config;
        this.combined = combined;
    }

    @Override
    public String getDisplayName(int index) {
        return name + " [" + index + "] " + String.join(",", config.displayTags());
    }

    @Override
    public List<Extension> getAdditionalExtensions() {
        Cluster cluster = new Cluster(config, combined);
        return List.of(
            (BeforeEachCallback) c -> {
                if (config.isAutoStart()) cluster.start();
            },
            (AfterTestExecutionCallback) c -> {
                if (c.getExecutionException().isPresent()) Peer.tellLog();
                cluster.stop();
            },
            new ClusterInstanceParameterResolver(cluster));
    }
}
