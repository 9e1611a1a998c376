package dev.wingbeat;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import dev.wingbeat.idl.launch.v1.Inputs;
import dev.wingbeat.idl.launch.v1.LaunchItem;
import dev.wingbeat.idl.launch.v1.Overrides;
import dev.wingbeat.idl.launch.v1.Target;
import dev.wingbeat.idl.launch.v1.TargetKind;
import dev.wingbeat.idl.launch.v1.VersionSelection;
import java.util.Map;

/** One execution to be: {@code Item.workflow("hello.wf").inputs(Map.of("name", "you")).key("upload-7")}. */
public final class Item {
  private static final Gson JSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

  private final LaunchItem.Builder message = LaunchItem.newBuilder();

  private Item(TargetKind kind, String name) {
    message.setTarget(
        Target.newBuilder().setKind(kind).setName(name).setSelection(VersionSelection.VERSION_SELECTION_NEWEST));
  }

  /** Runs a launch plan. */
  public static Item launchPlan(String name) {
    return new Item(TargetKind.TARGET_KIND_LAUNCH_PLAN, name);
  }

  /** Runs a workflow, by its default launch plan. */
  public static Item workflow(String name) {
    return new Item(TargetKind.TARGET_KIND_WORKFLOW, name);
  }

  /** Runs a single task. */
  public static Item task(String name) {
    return new Item(TargetKind.TARGET_KIND_TASK, name);
  }

  /** A row of a batch, whose template says what runs. */
  public static Item row(Map<String, ?> inputs) {
    var item = new Item(TargetKind.TARGET_KIND_UNSPECIFIED, "");
    item.message.clearTarget();
    return item.inputs(inputs);
  }

  /** Where it runs; the client's project and domain unless set. */
  public Item in(String project, String domain) {
    message.setProject(project).setDomain(domain);
    return this;
  }

  /** A fixed version; the newest unless set. */
  public Item version(String version) {
    message.getTargetBuilder().setVersion(version);
    return this;
  }

  /** The active launch plan instead of the newest. */
  public Item active() {
    message.getTargetBuilder().setSelection(VersionSelection.VERSION_SELECTION_ACTIVE);
    return this;
  }

  /** Inputs: what Gson writes of them as JSON is converted by the server after the types of the interface. */
  public Item inputs(Map<String, ?> inputs) {
    message.setInputs(Inputs.newBuilder().setJson(JSON.toJson(inputs)));
    return this;
  }

  /** Name of the execution; made by the server unless set. */
  public Item name(String name) {
    message.setName(name);
    return this;
  }

  /** Makes the item safe to send again: it is launched once. */
  public Item key(String key) {
    message.setIdempotencyKey(key);
    return this;
  }

  /** A label of the execution. */
  public Item label(String key, String value) {
    message.putLabels(key, value);
    return this;
  }

  /** An annotation of the execution. */
  public Item annotation(String key, String value) {
    message.putAnnotations(key, value);
    return this;
  }

  /** Among executions that have not begun, higher ones begin first: -100 to 100. */
  public Item priority(int priority) {
    message.setPriority(priority);
    return this;
  }

  /** Settings of this execution. */
  public Item overrides(Overrides overrides) {
    message.setOverrides(overrides);
    return this;
  }

  LaunchItem message() {
    return message.build();
  }
}
