// Everything that reads files, in a process whose memory is bounded: a length that a file tells is not believed.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { denoTest } from "./support/denovisor.ts";
import { whyUnlimited } from "./support/limit_memory.ts";

const why = whyUnlimited();
if (why) console.log(`skipped: ${why}`);

Deno.test({
  name: "files that are nearly right, and files made to hurt, are read in 256 MiB of memory",
  ignore: why !== undefined,
  async fn() {
    const { code, out, err } = await denoTest("tests/support/limited_parsers.ts");
    assertEquals(code, 0, out + err);
  },
});

Deno.test({
  name: "a parser that allocates what a file asks for is found out",
  ignore: why !== undefined,
  async fn() {
    const { code, out, err } = await denoTest("tests/support/limited_greedy_parser.ts");
    assert(code !== 0);
    assertStringIncludes(out + err, "RangeError: Array buffer allocation failed");
  },
});
