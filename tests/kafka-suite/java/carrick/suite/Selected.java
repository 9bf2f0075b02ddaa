package carrick.suite;

import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtensionContext;

/** Lets the selected cases run and no others. */
public final class Selected implements ExecutionCondition {
    @Override
    public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
        // A test with several invocations is no case itself.
        boolean isCase = context.getTestMethod().isPresent() && !context.getUniqueId().matches(".*/\\[test-template:[^/]*");
        return isCase && Case.of(context.getUniqueId()).filter(c -> !c.isSelected()).isPresent()
            ? ConditionEvaluationResult.disabled("not selected")
            : ConditionEvaluationResult.enabled("selected");
    }
}
