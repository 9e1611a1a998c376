package dev.wingbeat;

import java.util.Map;

/** Launches a workflow that takes a name, waits for it and prints what it made: {@code Hello ENDPOINT WORKFLOW}. */
public final class Hello {
  private Hello() {}

  /** See the class. */
  public static void main(String[] arguments) throws Exception {
    try (var client = Client.connect(arguments[0])) {
      var outcome = client.launch(Item.workflow(arguments[1]).inputs(Map.of("name", "Java")));
      if (outcome.error() != null) {
        throw outcome.error();
      }
      client.await(outcome.execution());
      System.out.println(client.outputs(outcome.execution()));
    }
  }
}
