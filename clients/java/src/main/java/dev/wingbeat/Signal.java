package dev.wingbeat;

import com.flyteidl.core.LiteralType;

/**
 * A value that a gate of an execution waits for, or has got.
 *
 * @param type of the value; a boolean for an approval
 * @param isSet whether a value was given
 */
public record Signal(ExecutionId execution, String id, LiteralType type, boolean isSet, Object value) {}
