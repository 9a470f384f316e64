import path from "node:path";

import type { NextConfig } from "next";

const config: NextConfig = {
  // For the client beside this folder, in a clone of the repository. One that is installed from a registry wants no such line.
  turbopack: { root: path.join(import.meta.dirname, "../../..") },
};

export default config;
