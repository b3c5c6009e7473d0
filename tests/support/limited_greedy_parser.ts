// A parser that believes a length, in a process that may grow by 256 MiB: its test must fail. Run by parsers_memory_test.ts.

import { limitMemory } from "./limit_memory.ts";
import { testNearlyRight } from "./nearly_right.ts";

function read(bytes: Uint8Array<ArrayBuffer>): Uint8Array {
  const content = new Uint8Array(new DataView(bytes.buffer).getUint32(0, true));
  content.set(bytes.subarray(4));
  return content;
}

testNearlyRight("greedy files", {
  valid: [new Uint8Array([8, 0, 0, 0, ...new Uint8Array(8)])],
  read(bytes) {
    try {
      read(bytes);
    } catch (cause) {
      throw new RangeError("The file is broken", { cause });
    }
  },
  errors: [RangeError],
  message: /^The file is broken$/,
});

limitMemory(256 * 2 ** 20);
