// cli/errors.ts: errors as sentences and exit codes.

import { assertEquals } from "@std/assert";
import { sentence, Stop } from "../../cli/errors.ts";

Deno.test("an error is told in one line, without the host's error numbers", () => {
  assertEquals(sentence(new Error("No such file (os error 2): x\nat y")), "No such file: x");
  assertEquals(sentence(new RangeError()), "RangeError");
  assertEquals(sentence("what was thrown"), "what was thrown");
});

Deno.test("a permission that Deno denies is told with its flag", () => {
  const denied = new Deno.errors.NotCapable('Requires read access to "x", run again with the --allow-read flag');
  assertEquals(sentence(denied), 'Deno denies read access to "x": run again with --allow-read after deno run');
});

Deno.test("a stop with nothing to say says nothing", () => {
  assertEquals(sentence(new Stop(143)), "");
  assertEquals(sentence(new Stop(124, "Stopped after 1 s")), "Stopped after 1 s");
});
