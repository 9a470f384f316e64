/** By what the settings are injected, and what makes them. */

import { ConfigurableModuleBuilder } from "@nestjs/common";

import type { JobQueueOptions } from "./options.js";

export const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN: OPTIONS } =
  new ConfigurableModuleBuilder<JobQueueOptions>({ moduleName: "JobQueue" })
    .setClassMethodName("forRoot")
    .setFactoryMethodName("createJobQueueOptions")
    .build();
