package org.reactivestreams;

/** By the name of that of Reactive Streams: tests need no more of it. */
public interface Publisher<T> {}
