// Plain data: checks, copies, bytes.

import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import type { Plain } from "../../core/plugin.ts";
import { checkPlain, clonePlain, decodePlain, encodePlain } from "../../core/plain.ts";

const EVERYTHING: Plain = {
  undefined: undefined,
  null: null,
  booleans: [true, false],
  numbers: [0, -0, 1.5, -1e300, NaN, Infinity, Number.MAX_SAFE_INTEGER],
  bigints: [0n, -1n, 2n ** 64n],
  text: "grüße 🚀",
  bytes: Uint8Array.of(1, 2, 255),
  nested: { list: [[], {}, [{ deep: "yes" }]] },
};

Deno.test("plain data survives its bytes", () => {
  assertEquals(decodePlain(encodePlain(EVERYTHING)), EVERYTHING);
});

Deno.test("equal data has equal bytes, whatever the order of its keys", () => {
  assertEquals(encodePlain({ a: 1, b: [2n] }), encodePlain({ b: [2n], a: 1 }));
  assertNotEquals(encodePlain({ a: 1 }), encodePlain({ a: 1n }));
  assertNotEquals(encodePlain({ a: undefined }), encodePlain({}));
});

Deno.test("a clone shares nothing", () => {
  const value = { list: [1], bytes: Uint8Array.of(1), inner: { x: 1 } };
  const copy = clonePlain(value);
  copy.list.push(2);
  copy.bytes[0] = 9;
  copy.inner.x = 9;
  assertEquals(value, { list: [1], bytes: Uint8Array.of(1), inner: { x: 1 } });
});

Deno.test("what is not plain is refused by its place", () => {
  const circle: Record<string, unknown> = {};
  circle.self = { back: circle };
  const refused: [unknown, string][] = [
    [{ queue: [{ map: new Map() }] }, "disk0.queue[0].map: wanted plain data, got a Map"],
    [{ run: () => 1 }, "disk0.run: wanted plain data, got a function"],
    [circle, "disk0.self.back: wanted plain data, got a circle"],
    [{ words: new Uint32Array(1) }, "disk0.words: wanted plain data, got a Uint32Array"],
    [Promise.resolve(), "disk0: wanted plain data, got a Promise"],
  ];
  for (const [value, sentence] of refused) assertThrows(() => checkPlain(value, "disk0"), TypeError, sentence);
  checkPlain(EVERYTHING, "disk0");
  const shared = [1];
  checkPlain({ once: shared, twice: shared }, "disk0");
});

Deno.test("bytes cut short or of another format are refused", () => {
  const whole = encodePlain(EVERYTHING);
  for (let length = 0; length < whole.length; length++) {
    assertThrows(() => decodePlain(whole.subarray(0, length)), RangeError);
  }
  assertThrows(() => decodePlain(Uint8Array.of(99)), RangeError, "wanted a tag from 0 to 9 at byte 0, got 99");
  assertThrows(() => decodePlain(Uint8Array.of(1, 1)), RangeError, "1 bytes are left over");
  assertThrows(() => decodePlain(Uint8Array.of(8, 255, 255, 255, 255)), RangeError);
});
