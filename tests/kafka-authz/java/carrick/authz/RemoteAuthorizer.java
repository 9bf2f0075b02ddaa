package carrick.authz;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.CreateAclsResult;
import org.apache.kafka.clients.admin.DeleteAclsResult;
import org.apache.kafka.common.Endpoint;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.server.authorizer.AclCreateResult;
import org.apache.kafka.server.authorizer.AclDeleteResult;
import org.apache.kafka.server.authorizer.AclDeleteResult.AclBindingDeleteResult;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.server.authorizer.AuthorizationResult;
import org.apache.kafka.server.authorizer.Authorizer;
import org.apache.kafka.server.authorizer.AuthorizerServerInfo;

/** The broker's ACLs over its admin API, for tests that take the authorizer out of a broker in their JVM. */
public final class RemoteAuthorizer implements Authorizer {
    private final Peer peer;

    public RemoteAuthorizer(Peer peer) {
        this.peer = peer;
    }

    @Override
    public List<? extends CompletionStage<AclCreateResult>> createAcls(AuthorizableRequestContext context, List<AclBinding> bindings) {
        CreateAclsResult created = peer.admin().createAcls(bindings);
        List<CompletionStage<AclCreateResult>> results = new ArrayList<>();
        for (AclBinding binding : bindings) {
            ApiException error = error(() -> created.values().get(binding).get());
            results.add(CompletableFuture.completedFuture(error == null ? AclCreateResult.SUCCESS : new AclCreateResult(error)));
        }
        return results;
    }

    @Override
    public List<? extends CompletionStage<AclDeleteResult>> deleteAcls(AuthorizableRequestContext context, List<AclBindingFilter> filters) {
        DeleteAclsResult deleted = peer.admin().deleteAcls(filters);
        List<CompletionStage<AclDeleteResult>> results = new ArrayList<>();
        for (AclBindingFilter filter : filters) {
            List<AclBindingDeleteResult> found = new ArrayList<>();
            ApiException error = error(() -> {
                deleted.values().get(filter).get().values().forEach(it -> found.add(it.exception() == null
                    ? new AclBindingDeleteResult(it.binding())
                    : new AclBindingDeleteResult(it.binding(), it.exception())));
                return null;
            });
            results.add(CompletableFuture.completedFuture(error == null ? new AclDeleteResult(found) : new AclDeleteResult(error)));
        }
        return results;
    }

    @Override
    public Iterable<AclBinding> acls(AclBindingFilter filter) {
        List<AclBinding> found = new ArrayList<>();
        ApiException error = error(() -> found.addAll(peer.admin().describeAcls(filter).values().get()));
        if (error != null) throw error;
        return found;
    }

    /** What an answer of the broker fails with; null if it does not. */
    private static ApiException error(Callable<?> answer) {
        try {
            answer.call();
            return null;
        } catch (Exception e) {
            Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
            return cause instanceof ApiException known ? known : new ApiException(cause);
        }
    }

    @Override
    public Map<Endpoint, ? extends CompletionStage<Void>> start(AuthorizerServerInfo info) {
        return Map.of();
    }

    @Override
    public List<AuthorizationResult> authorize(AuthorizableRequestContext context, List<Action> actions) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void configure(Map<String, ?> configs) {
    }

    @Override
    public void close() {
    }
}
