import { randomInt } from "node:crypto";

const ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789";

/** A name that nothing else has: a letter, and 19 letters and digits. */
export function newName(): string {
  return "a" + Array.from({ length: 19 }, () => ALPHABET[randomInt(ALPHABET.length)]).join("");
}
