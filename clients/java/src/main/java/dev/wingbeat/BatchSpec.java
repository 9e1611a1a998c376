package dev.wingbeat;

import dev.wingbeat.idl.batch.v1.BrokenRows;
import dev.wingbeat.idl.launch.v1.LaunchTemplate;

/**
 * What a batch launches, and how fast: {@code BatchSpec.of(Item.workflow("infer")).name("night-7").alive(500)}.
 *
 * <p>The item is what all rows have in common: what they run, inputs of rows that have none of that name, labels.
 */
public final class BatchSpec {
  private final dev.wingbeat.idl.batch.v1.BatchSpec.Builder message = dev.wingbeat.idl.batch.v1.BatchSpec.newBuilder();
  private String name = Names.random();

  private BatchSpec(Item template) {
    var item = template.message();
    var shared = LaunchTemplate.newBuilder()
        .setTarget(item.getTarget())
        .putAllLabels(item.getLabelsMap())
        .putAllAnnotations(item.getAnnotationsMap())
        .setOverrides(item.getOverrides());
    if (item.hasInputs()) {
      shared.setInputs(item.getInputs());
    }
    if (item.hasPriority()) {
      shared.setPriority(item.getPriority());
    }
    message.setTemplate(shared);
  }

  /** A batch whose rows have this in common. */
  public static BatchSpec of(Item template) {
    return new BatchSpec(template);
  }

  /** Name in the client's project and domain; the same name with the same content is the same batch. One is made unless set. */
  public BatchSpec name(String name) {
    this.name = name;
    return this;
  }

  /** Executions launched in a second at most; as fast as it goes unless set. */
  public BatchSpec ratePerSecond(double rate) {
    message.setRatePerS(rate);
    return this;
  }

  /** Executions alive at once at most; 1,000 unless set. */
  public BatchSpec alive(int most) {
    message.setAliveMax(most);
    return this;
  }

  /** A row of a manifest that cannot be read fails by itself, instead of the batch. */
  public BatchSpec refuseBrokenRows() {
    message.setBrokenRows(BrokenRows.BROKEN_ROWS_REFUSE_ROW);
    return this;
  }

  String name() {
    return name;
  }

  dev.wingbeat.idl.batch.v1.BatchSpec message() {
    return message.build();
  }
}
