// JSON by its text: where its parts stand. JSON.parse makes doubles of numbers, so that a number of 20 digits is shown as
// another one; what a job holds is shown, and sent again, as it was stored.

/**
 * @typedef {object} Node A value of the text.
 * @property {'object' | 'array' | 'string' | 'number' | 'word'} type
 * @property {number} start
 * @property {number} end
 * @property {Member[]} members Of an object or an array.
 */
/** @typedef {{key: string, value: Node}} Member The key is the text with its quotes; of an array it is empty. */

const BLANK = /[ \t\r\n]*/y;
/** @type {[RegExp, 'string' | 'number' | 'word'][]} */
const PLAIN = [
  [/"[^"\\]*(?:\\.[^"\\]*)*"/y, "string"],
  [/-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y, "number"],
  [/true|false|null/y, "word"],
];
const [[STRING]] = /** @type {[[RegExp, 'string']]} */ (PLAIN);
const DEEPEST = 500;

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
  if (text[at] === "{" || text[at] === "[") return container(text, at, depth);
  for (const [pattern, type] of PLAIN) {
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
  new SyntaxError(at >= text.length ? "the JSON ends too early" : `this is not JSON at character ${at + 1}: ${text.slice(at, at + 20)}`);

/** The same JSON on indented lines; every string and number stays as it was written. @param {string} text */
export function pretty(text) {
  /** @param {Node} node @param {string} margin @returns {string} */
  const lines = ({ type, start, end, members }, margin) => {
    const [open, close] = [text[start] ?? "", text[end - 1] ?? ""];
    if (type !== "object" && type !== "array") return text.slice(start, end);
    if (!members.length) return open + close;
    const within = `${margin}  `;
    return `${open}${members.map((each) => `${within}${each.key && `${each.key}: `}${lines(each.value, within)}`).join(",")}${margin}${close}`;
  };
  return lines(read(text), "\n");
}

/**
 * The text of a member of a JSON object, as it is written: `member(answer, "job", "payload")`.
 * @param {string} text @param {...string} names
 * @returns {string | null} Null: there is none.
 */
export function member(text, ...names) {
  /** @type {Node | undefined} */
  let node = read(text);
  for (const name of names) node = node?.type === "object" ? node.members.find(({ key }) => JSON.parse(key) === name)?.value : undefined;
  return node ? text.slice(node.start, node.end) : null;
}

/** The texts of the items of a JSON array, each as it is written. @param {string} text @returns {string[]} */
export const items = (text) => read(text).members.map(({ value: { start, end } }) => text.slice(start, end));
