/** Values that may be there at once or later, so that what needs no waiting does not wait. */

/** A value, or a promise of it. */
export type Maybe<T> = T | Promise<T>;

/** Whether it is to be waited for. */
export function isPromise<T>(value: Maybe<T>): value is Promise<T> {
  return typeof (value as Partial<Promise<T>> | undefined)?.then === "function";
}

/** Goes on with a value, at once where it is there. */
export function then<T, R>(value: Maybe<T>, next: (value: T) => R): Maybe<R> {
  return isPromise(value) ? value.then(next) : next(value);
}
