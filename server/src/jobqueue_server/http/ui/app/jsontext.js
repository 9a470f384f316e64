// JSON by its text: where its parts stand. JSON.parse makes doubles of numbers, so that a number of 20 digits is shown as
// another one; here the page shows the text that was enqueued.

/**
 * @typedef {object} Node A value of the text.
 * @property {'object' | 'array' | 'string' | 'number' | 'word'} type
 * @property {number} start
 * @property {number} end
 * @property {Member[]} members Of an object or an array.
 */
/** @typedef {{key: string, value: Node}} Member The key is the text with its quotes; of an array it is empty. */

const BLANK = /[ \t\r\n]*/y;
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;
const DEEPEST = 200;

/** @param {RegExp} pattern Sticky. @param {string} text @param {number} at @returns {number} Its end, or -1. */
function matched(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : -1;
}

/** Reads one value. @param {string} text @returns {Node} @throws {SyntaxError} It is not JSON. */
export function read(text) {
  const node = value(text, matched(BLANK, text, 0), 0);
  if (matched(BLANK, text, node.end) !== text.length) throw wrong(text, node.end);
  return node;
}

/** @param {string} text @param {number} at @param {number} depth @returns {Node} */
function value(text, at, depth) {
  const first = text[at];
  if (first === "{" || first === "[") return container(text, at, depth);
  /** @type {[RegExp, 'string' | 'number' | 'word'][]} */
  const kinds = [
    [STRING, "string"],
    [NUMBER, "number"],
    [WORD, "word"],
  ];
  for (const [pattern, type] of kinds) {
    const end = matched(pattern, text, at);
    if (end >= 0) return { type, start: at, end, members: [] };
  }
  throw wrong(text, at);
}

/** @param {string} text @param {number} start @param {number} depth @returns {Node} */
function container(text, start, depth) {
  if (depth > DEEPEST) throw wrong(text, start);
  const type = text[start] === "{" ? "object" : "array";
  const close = type === "object" ? "}" : "]";
  const members = [];
  let at = matched(BLANK, text, start + 1);
  while (text[at] !== close) {
    let key = "";
    if (type === "object") {
      const end = matched(STRING, text, at);
      if (end < 0) throw wrong(text, at);
      key = text.slice(at, end);
      at = matched(BLANK, text, end);
      if (text[at] !== ":") throw wrong(text, at);
      at = matched(BLANK, text, at + 1);
    }
    const member = value(text, at, depth + 1);
    members.push({ key, value: member });
    at = matched(BLANK, text, member.end);
    if (text[at] === ",") {
      at = matched(BLANK, text, at + 1);
      if (text[at] === close) throw wrong(text, at);
    } else if (text[at] !== close) throw wrong(text, at);
  }
  return { type, start, end: at + 1, members };
}

/** @param {string} text @param {number} at */
const wrong = (text, at) =>
  new SyntaxError(
    at >= text.length
      ? "the JSON ends too early"
      : `this is not JSON at character ${at + 1}: ${text.slice(at, at + 20)}`,
  );
