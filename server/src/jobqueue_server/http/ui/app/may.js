// Which pages are worth a link. What is read here needs more than READ, so it is asked of the grants themselves.

/** Pages, and the permissions of which one is wanted. @type {Record<string, string[]>} */
const WANTED = { audit: ["ADMIN"], operations: ["OPERATE", "ADMIN"] };

/** Whether the server would answer the page. @param {import("./auth.js").Access | null} access @param {string} page */
export function mayRead(access, page) {
  const wanted = WANTED[page];
  if (!wanted) return true;
  return (access?.grants ?? []).some(({ permissions }) => permissions.some((each) => wanted.includes(each)));
}
