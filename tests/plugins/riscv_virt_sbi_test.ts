// Tests plugins/riscv_virt/sbi.ts: the SBI's calls on harts made of registers.

import { assertEquals } from "@std/assert";
import { Sbi } from "../../plugins/riscv_virt/sbi.ts";
import { FakeEngine, type FakeHart } from "../support/fake_engine.ts";
import { FakeClock, FakeDma } from "../support/fake_services.ts";

const BASE = 0x10n, TIME = 0x54494d45n, IPI = 0x735049n, RFENCE = 0x52464e43n;
const HSM = 0x48534dn, SRST = 0x53525354n, DBCN = 0x4442434en;
const RAM = 0x8000_0000n;
const RAM_SIZE = 0x1_0000;

interface Machine {
  readonly harts: readonly FakeHart[];
  readonly memory: FakeDma;
  readonly powered: string[];
  readonly printed: string[];
  /** Makes hart 0 call; gives the error and the value. */
  call(extension: bigint, id: bigint, ...rest: bigint[]): { error: bigint; value: bigint };
}

function machine(harts = 1): Machine {
  const engine = new FakeEngine(RAM_SIZE, harts);
  const memory = new FakeDma(RAM_SIZE);
  const powered: string[] = [];
  const printed: string[] = [];
  const sbi = new Sbi(
    {
      harts: () => engine.harts,
      clock: new FakeClock(),
      power: (what, code) => powered.push(code === undefined ? what : `${what} ${code}`),
      console: (bytes) => printed.push(new TextDecoder().decode(bytes.slice())),
      memory,
    },
    { base: Number(RAM), size: RAM_SIZE },
  );
  engine.harts[0].start({ pc: RAM, mode: "S" });
  return {
    harts: engine.harts,
    memory,
    powered,
    printed,
    call(extension, id, ...rest) {
      const hart = engine.harts[0];
      hart.set("a7", extension);
      hart.set("a6", id);
      rest.forEach((value, i) => hart.set(`a${i}`, value));
      sbi.call(0);
      return { error: BigInt.asIntN(64, hart.get("a0")), value: hart.get("a1") };
    },
  };
}

Deno.test("SBI base names version 2.0 and the extensions that are there", () => {
  const { call, harts } = machine();
  harts[0].set("marchid", 77n);
  assertEquals(call(BASE, 0n), { error: 0n, value: 2n << 24n });
  assertEquals(call(BASE, 1n), { error: 0n, value: 0x64656e6fn });
  assertEquals(call(BASE, 2n), { error: 0n, value: 1n });
  for (const extension of [BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN, 1n]) {
    assertEquals(call(BASE, 3n, extension), { error: 0n, value: 1n });
  }
  for (const extension of [0x53555350n, 0x504d55n, 0x43505043n]) {
    assertEquals(call(BASE, 3n, extension), { error: 0n, value: 0n });
  }
  assertEquals(call(BASE, 4n), { error: 0n, value: 0n });
  assertEquals(call(BASE, 5n), { error: 0n, value: 77n });
  assertEquals(call(BASE, 6n), { error: 0n, value: 0n });
});

Deno.test("SBI answers unknown calls as not supported", () => {
  const { call } = machine();
  for (
    const [extension, id] of [[BASE, 7n], [TIME, 1n], [RFENCE, 3n], [HSM, 4n], [0x99n, 0n], [(1n << 64n) - 1n, 0n], [
      BASE,
      (1n << 64n) - 1n,
    ]]
  ) assertEquals(call(extension, id).error, -2n);
});

Deno.test("SBI timer sets the hart's own comparator", () => {
  const { call, harts } = machine();
  assertEquals(call(TIME, 0n, (1n << 64n) - 1n), { error: 0n, value: 0n });
  assertEquals(harts[0].get("stimecmp"), (1n << 64n) - 1n);
});

Deno.test("SBI interprocessor interrupts reach the running harts of the mask", () => {
  const { call, harts } = machine(4);
  for (const id of [1, 3]) harts[id].start({ pc: RAM, mode: "S" });
  const pending = () => harts.map((hart) => hart.interrupts.has(1));
  assertEquals(call(IPI, 0n, 0b110n, 1n), { error: 0n, value: 0n });
  assertEquals(pending(), [false, false, false, true]);
  assertEquals(call(IPI, 0n, 0n, (1n << 64n) - 1n).error, 0n);
  assertEquals(pending(), [true, true, false, true]);
});

Deno.test("SBI refuses masks that name a hart that is not there", () => {
  const { call, harts } = machine(2);
  assertEquals(call(IPI, 0n, 0b100n, 0n).error, -3n);
  assertEquals(call(IPI, 0n, 0b10n, 1n).error, -3n);
  assertEquals(call(RFENCE, 0n, 1n, 2n).error, -3n);
  assertEquals(call(RFENCE, 1n, 1n, (1n << 64n) - 2n).error, -3n);
  assertEquals(harts.map((hart) => hart.interrupts.size + hart.flushes), [0, 0]);
});

Deno.test("SBI remote fences drop the translations of the masked harts", () => {
  const { call, harts } = machine(3);
  for (const id of [0n, 1n, 2n]) assertEquals(call(RFENCE, id, 0b101n, 0n, 0x1000n, 0x2000n, 7n).error, 0n);
  assertEquals(harts.map((hart) => hart.flushes), [3, 0, 3]);
});

Deno.test("SBI starts, stops and tells the state of harts", () => {
  const { call, harts } = machine(2);
  assertEquals(call(HSM, 2n, 1n), { error: 0n, value: 1n });
  assertEquals(call(HSM, 0n, 1n, RAM + 2n, 42n).error, 0n);
  assertEquals(harts[1].entry?.pc, RAM + 2n);
  assertEquals(harts[1].entry?.mode, "S");
  assertEquals(["a0", "a1", "satp", "scounteren"].map((name) => harts[1].get(name)), [1n, 42n, 0n, 7n]);
  assertEquals(call(HSM, 2n, 1n), { error: 0n, value: 0n });
  assertEquals(call(HSM, 0n, 1n, RAM, 0n).error, -6n);
  assertEquals(call(HSM, 2n, 2n).error, -3n);
  assertEquals(call(HSM, 0n, 2n, RAM, 0n).error, -3n);
  call(HSM, 1n);
  assertEquals(harts.map((hart) => hart.stopped), [true, false]);
});

Deno.test("SBI starts no hart outside of RAM", () => {
  const { call, harts } = machine(2);
  for (const entry of [0n, RAM - 2n, RAM + BigInt(RAM_SIZE), RAM + 1n, (1n << 64n) - 2n]) {
    assertEquals(call(HSM, 0n, 1n, entry, 0n).error, -5n);
  }
  assertEquals(harts[1].stopped, true);
});

Deno.test("SBI suspends retentively and refuses the rest", () => {
  const { call } = machine();
  assertEquals(call(HSM, 3n, 0n).error, 0n);
  assertEquals(call(HSM, 3n, 0x8000_0000n).error, -2n);
  for (const type of [1n, 0x1000_0000n, 0x8000_0001n, 0x9000_0000n]) assertEquals(call(HSM, 3n, type).error, -3n);
});

Deno.test("SBI system reset powers off, fails or reboots, and stops all harts", () => {
  const cases: [bigint, bigint, string][] = [[0n, 0n, "off 0"], [0n, 1n, "off 1"], [1n, 0n, "reset"], [
    2n,
    1n,
    "reset",
  ]];
  for (const [type, reason, outcome] of cases) {
    const { call, harts, powered } = machine(2);
    harts[1].start({ pc: RAM, mode: "S" });
    call(SRST, 0n, type, reason);
    assertEquals(powered, [outcome]);
    assertEquals(harts.every((hart) => hart.stopped), true);
  }
  const { call, powered } = machine();
  assertEquals(call(SRST, 0n, 3n, 0n).error, -3n);
  assertEquals(call(SRST, 0n, 0n, 2n).error, -3n);
  assertEquals(powered, []);
});

Deno.test("SBI debug console writes from RAM and nowhere else", () => {
  const { call, memory, printed } = machine();
  memory.write(Number(RAM) + 16, new TextEncoder().encode("hello"));
  assertEquals(call(DBCN, 0n, 5n, RAM + 16n, 0n), { error: 0n, value: 5n });
  assertEquals(call(DBCN, 2n, 0x121n), { error: 0n, value: 0n });
  assertEquals(printed, ["hello", "!"]);
  assertEquals(call(DBCN, 0n, 10_000n, RAM, 0n), { error: 0n, value: 4096n });
  assertEquals(call(DBCN, 1n, 16n, RAM, 0n), { error: 0n, value: 0n });
  const end = RAM + BigInt(RAM_SIZE);
  for (
    const [length, low, high] of [[1n, end, 0n], [2n, end - 1n, 0n], [1n, RAM - 1n, 0n], [(1n << 64n) - 1n, RAM, 0n], [
      1n,
      RAM,
      1n,
    ], [1n, (1n << 64n) - 1n, 0n]]
  ) assertEquals(call(DBCN, 0n, length, low, high).error, -3n);
  assertEquals(printed.length, 3);
});

Deno.test("SBI legacy calls answer in a0 alone", () => {
  const { call, harts, printed, powered } = machine();
  assertEquals(call(1n, 0n, 0x41n, 99n), { error: 0n, value: 99n });
  assertEquals(call(2n, 0n, 0n, 99n), { error: -1n, value: 99n });
  assertEquals(call(0n, 0n, 1234n, 99n), { error: 0n, value: 99n });
  assertEquals(harts[0].get("stimecmp"), 1234n);
  call(8n, 0n);
  assertEquals([printed, powered], [["A"], ["off 0"]]);
});
