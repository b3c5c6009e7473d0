// Tests devices/syscon.ts.

import { assertEquals } from "@std/assert";
import syscon from "../../devices/syscon.ts";
import { fakeServices } from "../support/fake_services.ts";

function written(offset: number, value: number): string[] {
  const services = fakeServices();
  const device = syscon.create({ ...services, config: {}, name: "syscon0" });
  device.regions[0].write(offset, value, 4);
  return services.powerLog;
}

Deno.test("syscon powers off with the code that the guest gives", () => {
  assertEquals(written(0, 0x5555), ["off 0"]);
  assertEquals(written(0, 42 << 16 | 0x3333), ["off 42"]);
  assertEquals(written(0, (0xffff_3333) >>> 0), ["off 65535"]);
  assertEquals(written(0, 0x3333), ["off 1"]);
});

Deno.test("syscon resets", () => assertEquals(written(0, 0x7777), ["reset 0"]));

Deno.test("syscon ignores other values and places", () => {
  for (const [offset, value] of [[0, 0], [0, 0x5556], [4, 0x5555], [0xffc, 0x7777]]) {
    assertEquals(written(offset, value), []);
  }
});
