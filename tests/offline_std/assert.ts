// A stand-in for the parts of @std/assert that are used here, over node:assert and node:util.

import { AssertionError } from "node:assert";
import { inspect, isDeepStrictEqual } from "node:util";

export { AssertionError };

// deno-lint-ignore no-explicit-any -- as in the library: any constructor of errors
type ErrorClass<E extends Error> = new (...args: any[]) => E;

function show(value: unknown): string {
  return inspect(value, { depth: 8, maxStringLength: 400, maxArrayLength: 40 });
}

/** Throws. */
export function fail(msg?: string): never {
  throw new AssertionError({ message: msg ?? "Failed assertion." });
}

function refuse(msg: string | undefined, why: string): never {
  return fail(msg ? `${msg}: ${why}` : why);
}

/** `expr` is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) fail(msg);
}

/** Both are of the same shape and content. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!isDeepStrictEqual(actual, expected)) {
    refuse(msg, `values are not equal: ${show(actual)} is not ${show(expected)}`);
  }
}

/** They differ in shape or content. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (isDeepStrictEqual(actual, expected)) refuse(msg, `expected another value than ${show(actual)}`);
}

/** Both are the same value, by `Object.is`. */
export function assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): asserts actual is T {
  if (!Object.is(actual, expected)) refuse(msg, `${show(actual)} is not the same as ${show(expected)}`);
}

/** They are not the same value. */
export function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void {
  if (Object.is(actual, expected)) refuse(msg, `expected another value than ${show(actual)}`);
}

/** They are at most `tolerance` apart (default: one part in ten million). */
export function assertAlmostEquals(actual: number, expected: number, tolerance?: number, msg?: string): void {
  if (Object.is(actual, expected)) return;
  const allowed = tolerance ?? (Number.isFinite(expected) ? Math.abs(expected) * 1e-7 : 1e-7);
  if (!(Math.abs(expected - actual) <= allowed)) refuse(msg, `${actual} is more than ${allowed} away from ${expected}`);
}

/** Neither null nor undefined. */
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  if (actual === undefined || actual === null) refuse(msg, `expected a value, got ${actual}`);
}

/** An instance of the class. */
// deno-lint-ignore no-explicit-any -- as in the library: any constructor
export function assertInstanceOf<T extends abstract new (...args: any[]) => any>(
  actual: unknown,
  expectedType: T,
  msg = "",
): asserts actual is InstanceType<T> {
  if (!(actual instanceof expectedType)) {
    refuse(msg, `expected an instance of ${expectedType.name}, got ${show(actual)}`);
  }
}

/** `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual > expected)) refuse(msg, `expected ${show(actual)} > ${show(expected)}`);
}

/** `actual >= expected`. */
export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual >= expected)) refuse(msg, `expected ${show(actual)} >= ${show(expected)}`);
}

/** `actual < expected`. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual < expected)) refuse(msg, `expected ${show(actual)} < ${show(expected)}`);
}

/** `actual <= expected`. */
export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual <= expected)) refuse(msg, `expected ${show(actual)} <= ${show(expected)}`);
}

/** The text holds the other. */
export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  if (!actual.includes(expected)) refuse(msg, `${show(actual)} does not contain ${show(expected)}`);
}

/** The text matches. */
export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  if (!expected.test(actual)) refuse(msg, `${show(actual)} does not match ${expected}`);
}

function checkError<E extends Error>(
  error: unknown,
  ErrorClass: ErrorClass<E> | undefined,
  includes: string | undefined,
  msg: string | undefined,
): E {
  if (ErrorClass && !(error instanceof ErrorClass)) {
    refuse(msg, `expected a ${ErrorClass.name}, got ${error instanceof Error ? error.stack : show(error)}`);
  }
  if (includes !== undefined) assertStringIncludes((error as Error).message, includes, msg);
  return error as E;
}

/** Calling `fn` throws. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Calling `fn` throws an error of the class, with the text in its message. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows<E extends Error>(
  fn: () => unknown,
  classOrMsg?: ErrorClass<E> | string,
  includes?: string,
  msg?: string,
): unknown {
  const [ErrorClass, note] = typeof classOrMsg === "string" ? [undefined, classOrMsg] : [classOrMsg, msg];
  try {
    fn();
  } catch (error) {
    return checkError(error, ErrorClass, includes, note);
  }
  return refuse(note, "expected the function to throw");
}

/** The promise that `fn` gives rejects. */
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
/** The promise that `fn` gives rejects with an error of the class, with the text in its message. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects<E extends Error>(
  fn: () => PromiseLike<unknown>,
  classOrMsg?: ErrorClass<E> | string,
  includes?: string,
  msg?: string,
): Promise<unknown> {
  const [ErrorClass, note] = typeof classOrMsg === "string" ? [undefined, classOrMsg] : [classOrMsg, msg];
  let promise: PromiseLike<unknown>;
  try {
    promise = fn();
  } catch {
    return refuse(note, "expected a rejected promise, but the function threw");
  }
  try {
    await promise;
  } catch (error) {
    return checkError(error, ErrorClass, includes, note);
  }
  return refuse(note, "expected the promise to reject");
}
