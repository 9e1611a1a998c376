package dev.wingbeat;

import com.flyteidl.core.WorkflowExecutionIdentifier;
import dev.wingbeat.idl.query.v1.ExecutionIdentifier;

/** What names an execution. */
public record ExecutionId(String project, String domain, String name) {
  static ExecutionId of(ExecutionIdentifier message) {
    return new ExecutionId(message.getProject(), message.getDomain(), message.getName());
  }

  ExecutionIdentifier message() {
    return ExecutionIdentifier.newBuilder().setProject(project).setDomain(domain).setName(name).build();
  }

  WorkflowExecutionIdentifier flyte() {
    return WorkflowExecutionIdentifier.newBuilder().setProject(project).setDomain(domain).setName(name).build();
  }

  @Override
  public String toString() {
    return project + ":" + domain + ":" + name;
  }
}
