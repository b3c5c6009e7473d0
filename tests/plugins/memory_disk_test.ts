// Tests plugins/memory_disk.ts.

import { assertEquals, assertRejects } from "@std/assert";
import memory_disk from "../../plugins/memory_disk.ts";
import { blockSuite, pattern } from "../support/backend_suites.ts";
import { Room } from "../support/room.ts";

blockSuite("memory_disk", (content, readOnly) => new Room().open(memory_disk, { content, readOnly }));

Deno.test("memory_disk rounds up to whole sectors and pads its content with zeroes", async () => {
  const disk = await new Room().open(memory_disk, { content: pattern(700) });
  assertEquals(disk.size, 1024);
  const into = new Uint8Array(1024);
  assertEquals(await disk.read(0, [into]), "ok");
  assertEquals(into.subarray(0, 700), pattern(700));
  assertEquals(into.subarray(700), new Uint8Array(324));
  assertEquals((await new Room().open(memory_disk, { size: "1M" })).size, 1 << 20);
});

Deno.test("memory_disk keeps its own copy of the content", async () => {
  const content = pattern(512);
  const disk = await new Room().open(memory_disk, { content });
  await disk.write(0, [new Uint8Array(512)]);
  assertEquals(content, pattern(512));
});

Deno.test("memory_disk refuses a size that can not be", async () => {
  const open = (config: unknown) => () => new Room().open(memory_disk, config);
  await assertRejects(open({}), RangeError, "wanted a size or a content, got neither");
  await assertRejects(open({ size: 512, content: pattern(1024) }), RangeError, "1024 bytes exceeds the size of 512");
  await assertRejects(open({ size: "999999G" }), RangeError, "no 1073740750258176 bytes of memory");
});
