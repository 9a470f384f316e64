/** Traces of JobQueue's workers and clients by OpenTelemetry. */
package dev.jobqueue.opentelemetry;
