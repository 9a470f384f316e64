/** The worker as a process of its own. */

import { makeWorker } from "./jobs.js";

await makeWorker().run();
