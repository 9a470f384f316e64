/** Metrics of a worker by Micrometer. */
package dev.jobqueue.micrometer;
