/** What the client calls itself; a test holds it to package.json. */

/** The version of the package. */
export const VERSION = "0.1.0";

/** This library, for the server's logs. */
export const CLIENT_NAME = `jobqueue-typescript/${VERSION}`;
