// Texts of errors, which may be a line or a stack.

/**
 * The line that says what an error was, and its whole text if it has more lines. Of a Python traceback the last line does.
 * @param {string} text @returns {[string, string]}
 */
export function headOf(text) {
  const whole = text.trimEnd();
  const lines = whole.split("\n");
  if (lines.length < 2) return [whole, ""];
  return [(/^Traceback/.test(whole) ? lines.at(-1) : lines[0]) ?? "", whole];
}
