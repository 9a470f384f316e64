/** Texts that must fit into so many bytes of UTF-8, and say when they were cut. */

/** Keeps the beginning: there an error's line stands, and of a stack the innermost frames. */
export function cut(text: string, limit: number): string {
  const raw = Buffer.from(text);
  // Not the text itself: half of a surrogate pair has no form in UTF-8.
  if (raw.length <= limit) return raw.toString();
  const note = ` [cut, ${raw.length} bytes in all]`;
  return wholeCharacters(raw.subarray(0, limit - note.length)) + note;
}

/** The characters that the bytes hold in full. */
export function wholeCharacters(raw: Uint8Array): string {
  return new TextDecoder().decode(raw, { stream: true });
}

/** The type of a value with its article. */
export function typeInWords(value: unknown): string {
  const type = typeof value;
  if (type === "undefined") return type;
  return type === "object" ? `an ${type}` : `a ${type}`;
}
