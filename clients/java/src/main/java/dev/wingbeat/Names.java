package dev.wingbeat;

import java.security.SecureRandom;
import java.util.stream.Collectors;

/** Names that nothing else has. */
final class Names {
  private static final String ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789";
  private static final SecureRandom RANDOM = new SecureRandom();

  private Names() {}

  /** A letter, and 19 letters and digits. */
  static String random() {
    return RANDOM.ints(19, 0, ALPHABET.length())
        .mapToObj(i -> ALPHABET.substring(i, i + 1))
        .collect(Collectors.joining("", "a", ""));
  }
}
