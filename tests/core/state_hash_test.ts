// The hash of a machine's state.

import { assertEquals, assertNotEquals } from "@std/assert";
import { StateHash } from "../../core/state_hash.ts";

function hashOf(change: (hash: StateHash) => void): string {
  const hash = new StateHash();
  change(hash);
  return hash.digest();
}

Deno.test("a hash tells memory apart by a bit and by its place", () => {
  const ram = new Uint8Array(3 * 4096);
  const seen = new Set([hashOf((hash) => hash.memory(0, ram))]);
  for (const at of [0, 1, 3, 4095, 4096, 8192]) {
    ram[at] = 1;
    seen.add(hashOf((hash) => hash.memory(0, ram)));
    ram[at] = 0;
  }
  assertEquals(seen.size, 7);
});

Deno.test("a hash does not depend on how memory is cut into pages", () => {
  const ram = new Uint8Array(4 * 4096).map((_, i) => i >> 7);
  const whole = hashOf((hash) => hash.memory(0, ram));
  const halves = hashOf((hash) => {
    hash.memory(0, ram.subarray(0, 8192));
    hash.memory(8192, ram.subarray(8192));
  });
  assertEquals(whole, halves);
});

Deno.test("a hash takes plain data in", () => {
  assertNotEquals(hashOf((hash) => hash.plain({ a: 1 })), hashOf((hash) => hash.plain({ a: 2 })));
  assertEquals(hashOf((hash) => hash.plain({ a: 1, b: 2 })), hashOf((hash) => hash.plain({ b: 2, a: 1 })));
});

Deno.test("a hash passes over memory that is zero", () => {
  const ram = new Uint8Array(16 * 4096);
  const page = ram.subarray(5 * 4096, 6 * 4096).fill(7);
  const whole = hashOf((hash) => hash.memory(0, ram));
  assertEquals(whole, hashOf((hash) => hash.memory(5 * 4096, page)));
  assertNotEquals(whole, hashOf((hash) => hash.memory(0, page)));
});
