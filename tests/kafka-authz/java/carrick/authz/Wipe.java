package carrick.authz;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.admin.UserScramCredentialAlteration;
import org.apache.kafka.clients.admin.UserScramCredentialDeletion;
import org.apache.kafka.common.acl.AccessControlEntryFilter;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.resource.ResourcePatternFilter;

/** Takes everything away that a test has left in a broker. */
final class Wipe {
    private static final int ROUNDS = 7;
    private static final long ROUND_MS = 50;
    private static final Set<String> DYNAMIC =
        Set.of("DYNAMIC_BROKER_CONFIG", "DYNAMIC_DEFAULT_BROKER_CONFIG", "DYNAMIC_GROUP_CONFIG", "DYNAMIC_CLIENT_METRICS_CONFIG");

    private Wipe() {
    }

    /** False where a group has members that do not go. */
    static boolean all(Admin admin, Properties broker) throws Exception {
        if (broker.containsKey("authorizer.class.name")) {
            admin.deleteAcls(List.of(new AclBindingFilter(ResourcePatternFilter.ANY, AccessControlEntryFilter.ANY))).all().get();
        }
        Set<String> topics = admin.listTopics().names().get();
        if (!topics.isEmpty()) admin.deleteTopics(topics).all().get();
        scramUsers(admin);
        quotas(admin);
        configs(admin, broker.getProperty("node.id"));
        for (int round = 0; round < ROUNDS; round++) {
            Collection<GroupListing> groups = admin.listGroups().all().get();
            if (groups.isEmpty() && admin.listTopics().names().get().isEmpty()) return true;
            for (GroupListing group : groups) remove(admin, group);
            Thread.sleep(ROUND_MS);
        }
        return false;
    }

    private static void scramUsers(Admin admin) throws Exception {
        List<UserScramCredentialAlteration> deletions = new ArrayList<>();
        admin.describeUserScramCredentials().all().get().forEach((user, described) ->
            described.credentialInfos().forEach(it -> deletions.add(new UserScramCredentialDeletion(user, it.mechanism()))));
        // A user may be named once in a request.
        for (var deletion : deletions) admin.alterUserScramCredentials(List.of(deletion)).all().get();
    }

    private static void quotas(Admin admin) throws Exception {
        List<ClientQuotaAlteration> alterations = new ArrayList<>();
        admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get().forEach((entity, quotas) -> alterations.add(
            new ClientQuotaAlteration(entity, quotas.keySet().stream().map(name -> new ClientQuotaAlteration.Op(name, null)).toList())));
        if (!alterations.isEmpty()) admin.alterClientQuotas(alterations).all().get();
    }

    private static void configs(Admin admin, String node) throws Exception {
        List<ConfigResource> resources = new ArrayList<>();
        resources.add(new ConfigResource(ConfigResource.Type.BROKER, node));
        resources.add(new ConfigResource(ConfigResource.Type.BROKER, ""));
        var types = Set.of(ConfigResource.Type.GROUP, ConfigResource.Type.CLIENT_METRICS);
        resources.addAll(admin.listConfigResources(types, new ListConfigResourcesOptions()).all().get());
        Map<ConfigResource, Collection<AlterConfigOp>> changes = new HashMap<>();
        admin.describeConfigs(resources).all().get().forEach((resource, config) -> {
            List<AlterConfigOp> ops = new ArrayList<>();
            for (ConfigEntry entry : config.entries()) {
                boolean isSet = DYNAMIC.contains(entry.source().name()) && !entry.name().equals("min.insync.replicas");
                if (isSet) ops.add(new AlterConfigOp(new ConfigEntry(entry.name(), null), AlterConfigOp.OpType.DELETE));
            }
            if (!ops.isEmpty()) changes.put(resource, ops);
        });
        if (!changes.isEmpty()) admin.incrementalAlterConfigs(changes).all().get();
    }

    private static void remove(Admin admin, GroupListing group) throws InterruptedException {
        List<String> id = List.of(group.groupId());
        String type = group.type().map(Object::toString).orElse("").toLowerCase();
        try {
            switch (type) {
                case "share" -> admin.deleteShareGroups(id).all().get();
                case "streams" -> admin.deleteStreamsGroups(id).all().get();
                default -> admin.deleteConsumerGroups(id).all().get();
            }
        } catch (ExecutionException e) {
            try {
                admin.removeMembersFromConsumerGroup(group.groupId(), new RemoveMembersFromConsumerGroupOptions()).all().get();
            } catch (ExecutionException stays) {
                // The next round tries again.
            }
        }
    }
}
