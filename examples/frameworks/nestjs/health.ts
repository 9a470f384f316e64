/** Whether the shop is ready. */

import { JobQueueHealthIndicator } from "@jobqueue/nestjs";
import { Controller, Get } from "@nestjs/common";
import { HealthCheck, HealthCheckService } from "@nestjs/terminus";
import type { HealthCheckResult } from "@nestjs/terminus";

@Controller("readyz")
export class Readiness {
  constructor(
    private readonly health: HealthCheckService,
    private readonly jobs: JobQueueHealthIndicator,
  ) {}

  @Get()
  @HealthCheck()
  check(): Promise<HealthCheckResult> {
    return this.health.check([() => this.jobs.isHealthy()]);
  }
}
