package dev.wingbeat;

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.annotations.SerializedName;

/**
 * One line of the results of a batch: how one attempt of a row ended.
 *
 * @param phase SUCCEEDED, FAILED, TIMED_OUT, ABORTED or REFUSED
 * @param execution null for rows that were refused
 * @param error null for rows that succeeded
 * @param outputs by name as JSON has them, null where there are none; those that are too large lie at outputsUri
 */
public record BatchResult(
    long row,
    long line,
    String key,
    int attempt,
    String phase,
    ExecutionId execution,
    String error,
    JsonObject outputs,
    @SerializedName("outputs_uri") String outputsUri,
    @SerializedName("ended_at") String endedAt) {
  private static final Gson JSON = new Gson();

  static BatchResult of(String line) {
    var members = JsonParser.parseString(line).getAsJsonObject();
    members.entrySet().removeIf(member -> member.getValue().isJsonNull());
    return JSON.fromJson(members, BatchResult.class);
  }
}
