package dev.wingbeat;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import dev.wingbeat.idl.watch.v1.WatchTransitionsRequest;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** Plays the scenarios of clients/conformance with this client; their README says what each step means. */
public final class Conformance {
  private static final Duration STEP_TIMEOUT = Duration.ofMinutes(1);
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
  private static final BufferedReader IN = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
  private static final BigInteger EXACT_MAX = BigInteger.ONE.shiftLeft(53);

  private final Client client;
  private final String run;
  private final Map<String, List<Outcome>> launched = new HashMap<>();
  private final Map<String, String> batches = new HashMap<>();
  private Watch watch;
  private String prefix = "";

  private Conformance(Client client, String run) {
    this.client = client;
    this.run = run;
  }

  /** Plays the scenarios named after the endpoint. */
  public static void main(String[] arguments) throws IOException {
    var started = Long.toString(System.currentTimeMillis(), 36);
    for (int i = 1; i < arguments.length; i++) {
      var scenario = JsonParser.parseString(Files.readString(Path.of(arguments[i]))).getAsJsonObject();
      var line = new JsonObject();
      line.add("scenario", scenario.get("name"));
      var ca = System.getenv("CA_CERT");
      try (var client = ca == null ? Client.connect(arguments[0]) : Client.connect(arguments[0], Path.of(ca))) {
        new Conformance(client.withTimeout(STEP_TIMEOUT), "java" + i + started).play(scenario.getAsJsonArray("steps"));
        line.addProperty("ok", true);
      } catch (Exception | AssertionError failed) {
        line.addProperty("ok", false);
        line.addProperty("error", failed.toString());
      }
      OUT.println(line);
    }
    System.exit(0);
  }

  private void play(JsonArray steps) throws Exception {
    for (int i = 0; i < steps.size(); i++) {
      var step = steps.get(i).getAsJsonObject();
      try {
        play(step);
      } catch (Exception | AssertionError failed) {
        throw new AssertionError("step %d (%s): %s".formatted(i, text(step, "do"), failed.getMessage()), failed);
      }
    }
  }

  private void play(JsonObject step) throws Exception {
    switch (text(step, "do")) {
      case "launch" -> launch(step);
      case "same" -> equal(outcome(step.getAsJsonArray("of")).execution(), outcome(step.getAsJsonArray("as")).execution(), "executions");
      case "wait" -> await(step);
      case "outputs" -> outputs(step);
      case "watch" -> {
        prefix = filled(text(step, "prefix"));
        watch = client.watch(WatchTransitionsRequest.getDefaultInstance());
      }
      case "watched" -> watched(step);
      case "restart" -> {
        OUT.println("{\"restart\": true}");
        IN.readLine();
      }
      case "deadline" -> {
        var limited = client.withTimeout(Duration.ofMillis(step.get("timeout_ms").getAsLong()));
        ends(() -> limited.awaitAll(ids(step)), "DEADLINE_EXCEEDED");
      }
      case "cancel" -> {
        var thread = Thread.currentThread();
        CompletableFuture.delayedExecutor(step.get("after_ms").getAsLong(), TimeUnit.MILLISECONDS).execute(thread::interrupt);
        ends(() -> client.awaitAll(ids(step)), "CANCELLED");
        Thread.interrupted();
      }
      case "fails" -> {
        var id = client.execution(filled(text(step, "name")));
        Callable<?> call = text(step, "call").equals("wait") ? () -> client.await(id) : () -> client.outputs(id);
        var error = ends(call, text(step, "code"));
        var contained = filled(text(step, "contains"));
        check(error.getMessage().contains(contained), contained + " is not in " + error.getMessage());
      }
      case "batch" -> batch(step);
      case "batch_wait" -> batchWait(step);
      case "batch_change" -> batchChange(step);
      case "batch_results" -> batchResults(step);
      case "signals" -> signals(step);
      case "signal" -> refused(step, () -> {
        client.setSignal(id(step), text(step, "signal"), given(step.get("value")));
        return null;
      });
      case "terminate" -> refused(step, () -> {
        client.terminate(id(step), text(step, "cause"));
        return null;
      });
      case "relaunch" -> keep(step, client.relaunch(id(step)));
      case "recover" -> keep(step, client.recover(id(step), new Recovery()));
      default -> throw new AssertionError("an unknown step");
    }
  }

  private void launch(JsonObject step) {
    var outcomes = client.launch(items(step, "items"));
    launched.put(text(step, "as"), outcomes);
    var statuses = step.getAsJsonArray("statuses");
    for (int i = 0; i < outcomes.size(); i++) {
      var outcome = outcomes.get(i);
      var wanted = statuses.get(i % statuses.size()).getAsString();
      equal(outcome.status().name().toLowerCase(), wanted, "item %d (%s)".formatted(i, outcome.error()));
    }
    var errors = step.has("errors") ? step.getAsJsonArray("errors") : new JsonArray();
    for (int i = 0; i < errors.size(); i++) {
      if (!errors.get(i).isJsonNull()) {
        var wanted = errors.get(i).getAsJsonObject();
        var error = outcomes.get(i).error();
        check(error != null, "item " + i + " has no error");
        equal(error.code().name(), text(wanted, "code"), "error of item " + i);
        for (var field : wanted.getAsJsonArray("fields")) {
          check(
              error.violations().stream().anyMatch(v -> v.field().equals(field.getAsString())),
              "item %d: %s does not name %s".formatted(i, error.getMessage(), field));
        }
      }
    }
  }

  private List<Item> items(JsonObject step, String name) {
    var items = new ArrayList<Item>();
    for (int n = 0; n < (step.has("repeat") ? step.get("repeat").getAsInt() : 1); n++) {
      for (var item : step.getAsJsonArray(name)) {
        items.add(item(item.getAsJsonObject(), n));
      }
    }
    return items;
  }

  private Item item(JsonObject fields, int n) {
    var item = !fields.has("task") && !fields.has("workflow") ? Item.row(Map.of()) : target(fields);
    if (fields.has("name")) {
      item.name(filled(text(fields, "name")).replace("{n}", Integer.toString(n)));
    }
    if (fields.has("key")) {
      item.key(filled(text(fields, "key")).replace("{n}", Integer.toString(n)));
    }
    if (fields.has("labels")) {
      fields.getAsJsonObject("labels").entrySet().forEach(label -> item.label(label.getKey(), label.getValue().getAsString()));
    }
    if (fields.has("inputs")) {
      var inputs = new LinkedHashMap<String, Object>();
      fields.getAsJsonObject("inputs").entrySet().forEach(entry -> inputs.put(entry.getKey(), input(entry.getValue())));
      item.inputs(inputs);
    }
    return item;
  }

  private Item target(JsonObject fields) {
    return fields.has("task") ? Item.task(text(fields, "task")) : Item.workflow(text(fields, "workflow"));
  }

  private void batch(JsonObject step) {
    var spec = BatchSpec.of(target(step)).name(filled(text(step, "name")));
    if (step.has("alive_max")) {
      spec.alive(step.get("alive_max").getAsInt());
    }
    var made = step.has("rows")
        ? client.batches().upload(spec, items(step, "rows").iterator())
        : client.batches().create(spec, System.getenv("MANIFEST"));
    batches.put(text(step, "as"), made.name());
  }

  private void batchWait(JsonObject step) {
    var batch = client.batches().await(batches.get(text(step, "of")));
    equal(batch.state().name(), text(step, "state"), "state (%s)".formatted(batch.reason()));
    for (var count : step.getAsJsonObject("counts").entrySet()) {
      var field = batch.counts().getDescriptorForType().findFieldByName(count.getKey());
      equal(batch.counts().getField(field), count.getValue().getAsLong(), count.getKey());
    }
  }

  private void batchChange(JsonObject step) throws Exception {
    var name = step.has("name") ? filled(text(step, "name")) : batches.get(text(step, "of"));
    refused(step, () -> {
      var changed = switch (text(step, "call")) {
        case "pause" -> client.batches().pause(name);
        case "resume" -> client.batches().resume(name);
        case "abort" -> client.batches().abort(name, "it is a test");
        default -> {
          equal(client.batches().retry(name), step.get("rows").getAsLong(), "rows launched again");
          yield null;
        }
      };
      if (step.has("state")) {
        equal(changed.state().name(), text(step, "state"), "state");
      }
      return null;
    });
  }

  private void batchResults(JsonObject step) {
    var got = new ArrayList<BatchResult>();
    client.batches().results(batches.get(text(step, "of")), step.has("skip") ? step.get("skip").getAsLong() : 0)
        .forEachRemaining(got::add);
    var wanted = step.has("equal") ? step.getAsJsonArray("equal") : new JsonArray();
    equal(got.size(), step.has("count") ? step.get("count").getAsInt() : wanted.size(), "number of results");
    for (var element : wanted) {
      var one = element.getAsJsonObject();
      var found = got.stream()
          .filter(r -> r.key().equals(text(one, "key")) && r.attempt() == one.get("attempt").getAsInt())
          .findFirst()
          .orElseThrow(() -> new AssertionError("there is no result of " + text(one, "key")));
      equal(found.phase(), text(one, "phase"), "phase");
      equal(plain(found.outputs()), plain(one.get("outputs")), "outputs");
      equal(found.execution() == null, found.phase().equals("REFUSED"), "absence of an execution");
      var error = found.error() == null ? "" : found.error();
      check(error.contains(text(one, "error")), "%s is not in %s".formatted(text(one, "error"), error));
    }
  }

  private void signals(JsonObject step) throws Exception {
    var until = Instant.now().plus(STEP_TIMEOUT);
    var wanted = plain(step.get("equal"));
    while (true) {
      var got = new HashMap<Object, Object>();
      for (var signal : client.signals(id(step))) {
        equal(signal.value() != null, signal.isSet(), "value of " + signal.id());
        got.put(signal.id(), plain(signal.value()));
      }
      if (got.equals(wanted)) {
        return;
      }
      check(Instant.now().isBefore(until), "gates are " + got);
      Thread.sleep(100);
    }
  }

  private void keep(JsonObject step, ExecutionId made) {
    check(!made.equals(id(step)), made + " is the same execution");
    launched.put(text(step, "as"), List.of(new Outcome(Outcome.OutcomeStatus.CREATED, made, null)));
  }

  /** Makes a call, which fails with the code of the step if it has one. */
  private void refused(JsonObject step, Callable<?> call) throws Exception {
    if (step.has("code")) {
      ends(call, text(step, "code"));
    } else {
      call.call();
    }
  }

  private void await(JsonObject step) {
    var ends = client.awaitAll(ids(step));
    var phases = step.getAsJsonArray("phases");
    var contains = step.has("contains") ? step.getAsJsonArray("contains") : new JsonArray();
    for (int i = 0; i < ends.size(); i++) {
      var end = ends.get(i);
      equal(end.phase(), phases.get(i % phases.size()).getAsString(), "phase of %s (%s)".formatted(end.execution(), end.errorMessage()));
      if (i < contains.size()) {
        var contained = contains.get(i).getAsString();
        check(end.errorMessage().contains(contained), contained + " is not in " + end.errorMessage());
      }
    }
  }

  private void outputs(JsonObject step) throws IOException {
    var id = ids(step).get(step.has("index") ? step.get("index").getAsInt() : 0);
    var got = client.outputs(id);
    var wanted = step.getAsJsonObject("equal");
    equal(got.keySet(), wanted.keySet(), "names of outputs");
    for (var entry : wanted.entrySet()) {
      equal(plain(got.get(entry.getKey())), plain(input(entry.getValue())), entry.getKey());
    }
  }

  private void watched(JsonObject step) {
    var open = new HashSet<String>();
    step.getAsJsonArray("of").forEach(name -> launched.get(name.getAsString()).forEach(o -> open.add(o.execution().name())));
    CompletableFuture.delayedExecutor(STEP_TIMEOUT.toSeconds(), TimeUnit.SECONDS).execute(watch::close);
    Set<String> seen = new HashSet<>();
    while (!open.isEmpty()) {
      check(watch.hasNext(), "the watch ended with %d executions open".formatted(open.size()));
      var transition = watch.next();
      var name = transition.getExecution().getName();
      if (!name.startsWith(prefix)) {
        continue;
      }
      var phase = transition.getExecutionPhase();
      check(seen.add(name + " " + phase), name + " " + phase + " came twice");
      if (transition.getIsFinal()) {
        check(open.remove(name), name + " ended twice, or is unknown");
        check(seen.contains(name + " EXECUTION_PHASE_RUNNING"), name + " ended and was never running");
      }
    }
    watch.close();
  }

  private WingbeatException ends(Callable<?> call, String code) throws Exception {
    try {
      call.call();
    } catch (WingbeatException error) {
      equal(error.code().name(), code, "code");
      return error;
    }
    throw new AssertionError("the call did not end with an error");
  }

  private List<ExecutionId> ids(JsonObject step) {
    return launched.get(text(step, "of")).stream().filter(o -> o.error() == null).map(Outcome::execution).toList();
  }

  private ExecutionId id(JsonObject step) {
    return ids(step).get(0);
  }

  private Outcome outcome(JsonArray named) {
    return launched.get(named.get(0).getAsString()).get(named.get(1).getAsInt());
  }

  private String filled(String text) {
    return text.replace("{run}", run);
  }

  private static String text(JsonObject object, String name) {
    return object.get(name).getAsString();
  }

  /** What a program would give for a value of a scenario. */
  private static Object input(JsonElement value) {
    if (value instanceof JsonObject object && object.has("integer")) {
      return new BigInteger(text(object, "integer"));
    }
    if (value instanceof JsonObject object && object.has("$repeat")) {
      var parts = object.getAsJsonArray("$repeat");
      return parts.get(0).getAsString().repeat(parts.get(1).getAsInt());
    }
    return value;
  }

  /** What a program would give a gate for a value of a scenario. */
  private static Object given(JsonElement value) {
    if (value instanceof JsonArray items) {
      return items.asList().stream().map(Conformance::given).toList();
    }
    var primitive = value.getAsJsonPrimitive();
    return primitive.isBoolean() ? (Object) primitive.getAsBoolean() : primitive.getAsLong();
  }

  /** The form of values that scenarios compare. */
  private static Object plain(Object value) {
    if (value == null || value instanceof JsonNull) {
      return null;
    } else if (value instanceof JsonObject object) {
      return plain(object.asMap());
    } else if (value instanceof JsonArray array) {
      return plain(array.asList());
    } else if (value instanceof JsonPrimitive primitive) {
      return primitive.isNumber()
          ? plain((Object) primitive.getAsDouble())
          : plain(primitive.isBoolean() ? (Object) primitive.getAsBoolean() : primitive.getAsString());
    } else if (value instanceof Map<?, ?> map) {
      var entries = new HashMap<Object, Object>();
      map.forEach((key, item) -> entries.put(key, plain(item)));
      return entries;
    } else if (value instanceof List<?> list) {
      return new ArrayList<>(list.stream().map(Conformance::plain).collect(ArrayList::new, ArrayList::add, ArrayList::addAll));
    } else if (value instanceof Instant instant) {
      return instant.toString();
    } else if (value instanceof Duration length) {
      return Map.of("seconds", length.toNanos() / 1e9);
    } else if (value instanceof File file) {
      return Map.of("uri", file.uri());
    } else if (value instanceof Number number) {
      var isWhole = number instanceof Long || number instanceof BigInteger;
      var whole = isWhole ? new BigInteger(number.toString()) : null;
      return isWhole && whole.abs().compareTo(EXACT_MAX) > 0 ? whole.toString() : (Object) number.doubleValue();
    } else if (value instanceof String text && text.codePointCount(0, text.length()) > 1000) {
      return Map.of("length", text.codePointCount(0, text.length()), "sha256", sha256(text));
    }
    return value;
  }

  private static String sha256(String text) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8)));
    } catch (NoSuchAlgorithmException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  private static void check(boolean holds, String text) {
    if (!holds) {
      throw new AssertionError(text);
    }
  }

  private static void equal(Object got, Object wanted, String what) {
    check(Objects.equals(got, wanted), "%s: %s is not %s".formatted(what, got, wanted));
  }
}
