/** The shop as a worker alone. */

import { NestFactory } from "@nestjs/core";

import { Shop } from "./shop.js";

const app = await NestFactory.createApplicationContext(Shop);
app.enableShutdownHooks([], { useProcessExit: true });
