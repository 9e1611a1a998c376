package dev.wingbeat;

import java.util.List;

/**
 * What a recovery runs again.
 *
 * @param name of the new execution; empty: one is made
 * @param version of the launch plan or task; empty: the one that the execution ran
 * @param rerun names of tasks ("*" stands for any characters) and ids of nodes that run in any case
 * @param assumeUnchanged names of tasks and ids of nodes whose code counts as unchanged
 */
public record Recovery(String name, String version, List<String> rerun, List<String> assumeUnchanged) {
  /** Takes over all that succeeded, in the same version. */
  public Recovery() {
    this("", "", List.of(), List.of());
  }
}
