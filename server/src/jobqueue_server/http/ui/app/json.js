// JSON as text. JSON.parse would round a number of 20 digits; what a job holds is shown as it was stored.

/**
 * The tokens of a JSON text: strings, numbers and words as they are written, and `{ } [ ] , :`.
 * @param {string} text @returns {string[]}
 */
export function tokens(text) {
  return text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
}

/**
 * The same JSON on indented lines; every string and number stays as it was written.
 * @param {string} text
 */
export function pretty(text) {
  let out = "";
  let depth = 0;
  const all = tokens(text);
  const line = () => `\n${"  ".repeat(depth)}`;
  all.forEach((token, index) => {
    const next = all[index + 1];
    if (token === "{" || token === "[") {
      const empty = next === "}" || next === "]";
      depth += empty ? 0 : 1;
      out += empty ? token : token + line();
    } else if (token === "}" || token === "]") {
      const before = all[index - 1];
      if (before !== "{" && before !== "[") {
        depth -= 1;
        out += line();
      }
      out += token;
    } else if (token === ",") out += token + line();
    else if (token === ":") out += ": ";
    else out += token;
  });
  return out;
}

/**
 * The text of a member of a JSON object, as it is written: `member(answer, "job", "payload")`.
 * @param {string} text @param {...string} names
 * @returns {string | null} Null: there is none.
 */
export function member(text, ...names) {
  const all = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
  let depth = 0;
  let wanted = 0;
  let from = -1;
  for (let match = all.exec(text); match; match = all.exec(text)) {
    const token = match[0];
    if (from >= 0 && depth === wanted && (token === "," || token === "}")) return text.slice(from, match.index).trim();
    if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") {
      depth -= 1;
      // The object in which the name would be has ended.
      if (from < 0 && depth <= wanted) return null;
    } else if (from < 0 && depth === wanted + 1 && token.startsWith('"') && isName(text, all.lastIndex)) {
      if (JSON.parse(token) !== names[wanted]) continue;
      wanted += 1;
      const value = text.indexOf(":", all.lastIndex) + 1;
      all.lastIndex = value;
      if (wanted === names.length) from = value;
      else if (text.slice(value).trimStart()[0] !== "{") return null;
    }
  }
  return null;
}

/** @param {string} text @param {number} after */
function isName(text, after) {
  return /^\s*:/.test(text.slice(after, after + 20));
}

/** The texts of the items of a JSON array, each as it is written. @param {string} text @returns {string[]} */
export function items(text) {
  const all = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
  /** @type {string[]} */
  const found = [];
  let depth = 0;
  let from = 1 + text.indexOf("[");
  for (let match = all.exec(text); match; match = all.exec(text)) {
    const token = match[0];
    const ends = depth === 1 && (token === "," || token === "]");
    if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") depth -= 1;
    if (!ends) continue;
    const item = text.slice(from, match.index).trim();
    if (item) found.push(item);
    from = all.lastIndex;
    if (depth === 0) break;
  }
  return found;
}
