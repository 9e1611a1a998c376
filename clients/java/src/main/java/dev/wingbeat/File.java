package dev.wingbeat;

/** A file or folder, or a table; its content lies at {@code uri}. */
public record File(String uri, String format, Kind kind) {
  /** What lies there. */
  public enum Kind {
    /** One object. */
    FILE,
    /** A blob of several parts. */
    FOLDER,
    /** A schema or structured data set. */
    TABLE,
    /** A serialized literal that was too large to be handed out. */
    LITERAL,
  }
}
