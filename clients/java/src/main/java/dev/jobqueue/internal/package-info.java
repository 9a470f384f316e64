/** No API: what other artifacts of JobQueue need of this one. */
package dev.jobqueue.internal;
