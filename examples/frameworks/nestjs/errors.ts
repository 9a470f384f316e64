/** What the errors of the client are to callers of the shop. */

import {
  DeadlineExceeded,
  IdempotencyKeyReused,
  JobNotFound,
  JobQueueError,
  Overloaded,
  PayloadInvalid,
  Unavailable,
} from "@jobqueue/client";
import {
  Catch,
  ConflictException,
  NotFoundException,
  ServiceUnavailableException,
  UnprocessableEntityException,
} from "@nestjs/common";
import type { ArgumentsHost } from "@nestjs/common";
import { BaseExceptionFilter } from "@nestjs/core";

@Catch(JobQueueError)
export class Errors extends BaseExceptionFilter {
  override catch(error: JobQueueError, host: ArgumentsHost): void {
    super.catch(asHttp(error), host);
  }
}

function asHttp(error: JobQueueError): Error {
  if (error instanceof PayloadInvalid) return new UnprocessableEntityException(error.violations);
  if (error instanceof JobNotFound) return new NotFoundException("no such job");
  if (error instanceof IdempotencyKeyReused) {
    return new ConflictException("this Idempotency-Key came with another order");
  }
  if (error instanceof Unavailable || error instanceof Overloaded || error instanceof DeadlineExceeded) {
    return new ServiceUnavailableException("try again");
  }
  return error;
}
