// Tests devices/plic.ts against the PLIC specification.

import { assert, assertEquals } from "@std/assert";
import plic from "../../devices/plic.ts";
import { fakeServices } from "../support/fake_services.ts";

const PENDING = 0x1000;
const enable = (context: number, word = 0) => 0x2000 + 0x80 * context + 4 * word;
const threshold = (context: number) => 0x200000 + 0x1000 * context;
const claim = (context: number) => threshold(context) + 4;
/** Contexts of two harts, and the interrupt lines they drive. */
const M0 = 0, S0 = 1, S1 = 3;
const [MEIP, SEIP] = [11, 9];

function controller(inputs = 95) {
  const services = fakeServices({ cpus: 2 });
  const device = services.bind(
    plic.create({ ...services, config: plic.config.parse({ inputs }, "plic0"), name: "plic0" }),
  );
  const [regs] = device.regions;
  return {
    device,
    ...services,
    line: (input: number, level: boolean) => device.controller!.set(input, level),
    get: (offset: number) => regs.read(offset, 4),
    set: (offset: number, value: number) => regs.write(offset, value, 4),
  };
}

Deno.test("plic tells a context of an enabled interrupt above its threshold, and no other", () => {
  const { line, get, set, cpus } = controller();
  set(4 * 10, 3);
  set(enable(S0), 1 << 10);
  set(threshold(S0), 3);
  line(10, true);
  assertEquals(get(PENDING), 1 << 10);
  assert(!cpus.get(0, SEIP), "a priority equal to the threshold is masked");
  set(threshold(S0), 2);
  assert(cpus.get(0, SEIP));
  assert(!cpus.get(0, MEIP));
  assert(!cpus.get(1, SEIP));
});

Deno.test("plic hands out a level interrupt again after completion while the line stands", () => {
  const { line, get, set, cpus } = controller();
  set(4 * 7, 1);
  set(enable(S1), 1 << 7);
  line(7, true);
  assertEquals(get(claim(S1)), 7);
  assert(!cpus.get(1, SEIP));
  assertEquals(get(claim(S1)), 0);
  set(claim(S1), 7);
  assert(cpus.get(1, SEIP), "the line still stands");
  assertEquals(get(claim(S1)), 7);
  line(7, false);
  set(claim(S1), 7);
  assert(!cpus.get(1, SEIP));
});

Deno.test("plic takes no new request of an interrupt that is claimed and not completed", () => {
  const { line, get, set, cpus } = controller();
  set(4 * 7, 1);
  for (const context of [S0, S1]) set(enable(context), 1 << 7);
  line(7, true);
  assertEquals(get(claim(S0)), 7);
  line(7, false);
  line(7, true);
  assertEquals([get(claim(S1)), cpus.get(1, SEIP)], [0, false]);
  set(claim(S0), 7);
  assertEquals(get(claim(S1)), 7);
});

Deno.test("plic keeps a request whose line falls before it is claimed", () => {
  const { line, get, set, cpus } = controller();
  set(4 * 7, 1);
  set(enable(S0), 1 << 7);
  line(7, true);
  line(7, false);
  assert(cpus.get(0, SEIP));
  assertEquals(get(claim(S0)), 7);
  set(claim(S0), 7);
  assertEquals(get(claim(S0)), 0);
});

Deno.test("plic prefers the higher priority, then the lower number, whatever the threshold", () => {
  const { line, get, set } = controller();
  for (const [input, priority] of [[3, 1], [40, 5], [41, 5], [64, 2]]) {
    set(4 * input, priority);
    line(input, true);
  }
  for (const word of [0, 1, 2]) set(enable(M0, word), 0xffff_ffff);
  set(threshold(M0), 7);
  assertEquals([1, 2, 3, 4, 5].map(() => get(claim(M0))), [40, 41, 64, 3, 0]);
});

Deno.test("plic never claims an interrupt of priority 0", () => {
  const { line, get, set, cpus } = controller();
  set(enable(M0), 2);
  line(1, true);
  assert(!cpus.get(0, MEIP));
  assertEquals(get(claim(M0)), 0);
});

Deno.test("plic ignores the completion of what the context has not enabled or nobody claimed", () => {
  const { line, get, set, cpus } = controller();
  set(4 * 7, 1);
  set(enable(S0), 1 << 7);
  line(7, true);
  assertEquals(get(claim(S0)), 7);
  for (const [context, input] of [[M0, 7], [S0, 6], [S0, 0], [S0, 96], [S0, 0xffff_ffff]]) set(claim(context), input);
  assert(!cpus.get(0, SEIP));
  set(claim(S0), 7);
  assert(cpus.get(0, SEIP));
});

Deno.test("plic has only the bits of interrupts that exist, and three bits of priority", () => {
  const { get, set } = controller(33);
  for (const word of [0, 1, 2]) set(enable(S0, word), 0xffff_ffff);
  assertEquals([0, 1, 2].map((word) => get(enable(S0, word))), [0xffff_fffe, 3, 0]);
  for (const input of [0, 33, 34]) set(4 * input, 0xffff_ffff);
  assertEquals([0, 33, 34].map((input) => get(4 * input)), [0, 7, 0]);
  set(threshold(S0), 0xffff_ffff);
  assertEquals(get(threshold(S0)), 7);
});

Deno.test("plic describes itself by its inputs and the lines it drives", () => {
  const { device } = controller(60);
  assertEquals(device.deviceTree?.properties?.["riscv,ndev"], 60);
  assertEquals(device.deviceTree?.cpuLines, [MEIP, SEIP]);
});
