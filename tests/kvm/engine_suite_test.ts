// The suite of all engines, over the kvm engine; and what only it has: notifications that nobody waits for.

import { assert, assertEquals, assertGreater, assertRejects, assertThrows } from "@std/assert";
import kvm from "../../plugins/kvm/engine.ts";
import { PVM_PATH } from "../../plugins/kvm/fixups.ts";
import { LOW } from "../../plugins/pc_micro/memory_map.ts";
import { gdt, GDT_LIMIT, pageTables } from "../../plugins/pc_micro/tables.ts";
import type { Engine } from "../../core/plugin.ts";
import { RAM, REGISTER, testEngine } from "../support/engine_suite.ts";
import { exists } from "./host.ts";
import { assemble, withoutKvm } from "./x86.ts";

const ignore = await withoutKvm() !== undefined;
/** Where the board's page tables go, and programs. */
const TABLES = 0x9000;
const CODE = 0x2_0000;

const COUNT = "again: inc dword ptr [rdi]\njmp again\n";
const SOURCES = {
  count: COUNT,
  access: `mov rbx, ${REGISTER}\nmov eax, [rbx]\ninc eax\nmov [rbx], eax\nmov [rbx], al\n${COUNT}`,
  stores: `${RAM.STORES.map((page) => `mov dword ptr [${page * 4096 + 8}], 1\n`).join("")}
    mov rbx, ${REGISTER}\nmov byte ptr [rbx], 0\n${COUNT}`,
};

async function programs(): Promise<Record<keyof typeof SOURCES, Uint8Array>> {
  const made = Object.entries(SOURCES).map(async ([name, source]) => [name, await assemble(source, CODE)] as const);
  return Object.fromEntries(await Promise.all(made)) as never;
}

function start(
  engine: Engine,
  hart: number,
  program: Uint8Array,
  counter: number,
  others: Readonly<Record<string, bigint>> = {},
): void {
  const ram = new Uint8Array(engine.ram.buffer);
  const at = CODE + hart * 0x1000;
  ram.set(program, at);
  ram.set(pageTables(), TABLES);
  const registers = { cr3: BigInt(TABLES), rdi: BigInt(counter), ...others };
  engine.harts[hart].start({ pc: BigInt(at), mode: "long", registers });
}

testEngine("kvm", ignore, {
  definition: kvm as never,
  ramBase: 0,
  programs: ignore ? { count: new Uint8Array(), access: new Uint8Array(), stores: new Uint8Array() } : await programs(),
  spareRegister: "r15",
  walkedPages: [0, 1, 2].map((table) => (TABLES >> 12) + table),
  start,
});

/** Opens an engine; `write` gets what comes to the bus, `power` what the guest asks for. */
function openEngine(
  write: (at: number, value: number) => void = () => {},
  power: (what: string) => void = () => {},
  size: number = RAM.SIZE,
): Promise<Engine> | Engine {
  return kvm.open({
    config: kvm.config.parse({}, "engine"),
    ram: { base: 0, size, shared: false },
    harts: 1,
    bus: { read: () => 0, write: (at, value) => (write(at, value), true) },
    clock: { now: 0, alarm: () => ({ at() {}, cancel() {} }) },
    timebase: 1,
    deterministic: false,
    console: () => {},
    power,
  });
}

/** An engine of its own for a test. */
async function withEngine(
  write: (at: number, value: number) => void,
  work: (engine: Engine) => Promise<void>,
  power?: (what: string) => void,
) {
  const engine = await openEngine(write, power);
  try {
    await work(engine);
  } finally {
    await engine.dispose();
  }
}

const NOTIFY = REGISTER + 0x50;

Deno.test({
  name: "engine kvm lets a guest go on after a notification while the machine's thread is busy",
  ignore,
  async fn() {
    const seen: number[] = [];
    await withEngine((at, value) => at === NOTIFY && seen.push(value), async (engine) => {
      const source = `mov rbx, ${NOTIFY}\nagain: mov dword ptr [rbx], 1\ninc dword ptr [rdi]\njmp again`;
      const counter = new DataView(engine.ram.buffer, RAM.COUNTER);
      engine.notify!(NOTIFY, 4, [0, 1]);
      start(engine, 0, await assemble(source, CODE), RAM.COUNTER);
      while (counter.getUint32(0, true) === 0) await engine.run(0, 1e6);
      const before = counter.getUint32(0, true);
      const told = seen.length;
      // This is the machine's thread: nothing is served now.
      const end = performance.now() + 100;
      while (performance.now() < end);
      const between = counter.getUint32(0, true) - before;
      assertEquals(seen.length, told);
      assertGreater(between, 10);
      while (seen.length === told) await engine.run(0, 1e6);
      assertEquals(new Set(seen), new Set([1]));
    });
  },
});

Deno.test({
  name: "engine kvm waits for the machine's thread where a store is no notification",
  ignore,
  async fn() {
    const seen: number[] = [];
    await withEngine((_at, value) => seen.push(value), async (engine) => {
      const source = `mov rbx, ${NOTIFY}\nagain: mov dword ptr [rbx], 9\ninc dword ptr [rdi]\njmp again`;
      const counter = new DataView(engine.ram.buffer, RAM.COUNTER);
      engine.notify!(NOTIFY, 4, [0, 1]); // not 9
      start(engine, 0, await assemble(source, CODE), RAM.COUNTER);
      while (counter.getUint32(0, true) === 0) await engine.run(0, 1e6);
      const end = performance.now() + 100;
      const before = counter.getUint32(0, true);
      while (performance.now() < end);
      assert(counter.getUint32(0, true) - before <= 1);
    });
  },
});

Deno.test({
  name: "engine kvm tells of a guest's triple fault after a pause that came first",
  ignore,
  async fn() {
    const asked: string[] = [];
    await withEngine(() => {}, async (engine) => {
      start(engine, 0, await assemble("lidt [rdi]\nint 3", CODE), RAM.COUNTER);
      await engine.run(0, 0);
      while (engine.stats!().exits === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      await engine.pause!();
      while (asked.length === 0) assertEquals(await engine.run(0, 1e6), { reason: "budget" });
      assertEquals(asked, ["reset"]);
    }, (what) => void asked.push(what));
  },
});

Deno.test({
  name: "engine kvm is stopped when it says so, however short the run before",
  ignore,
  async fn() {
    await withEngine(() => {}, async (engine) => {
      const program = await assemble(COUNT, CODE);
      const counter = new DataView(engine.ram.buffer, RAM.COUNTER);
      for (let i = 0; i < 30; i++) {
        start(engine, 0, program, RAM.COUNTER);
        await engine.run(0, 0);
        await engine.pause!();
        const stopped = counter.getUint32(0, true);
        for (let look = 0; look < 1000; look++) assertEquals(counter.getUint32(0, true), stopped);
        engine.reset();
      }
    });
  },
});

/** Has the local APIC interrupt at a time of the time-stamp counter, later than the program gets to HLT. */
const DEADLINE = `
  lea rax, [handler]
  mov word ptr [idt + 0x400], ax
  mov dword ptr [idt + 0x402], 0x8e000010
  shr rax, 16
  mov word ptr [idt + 0x406], ax
  lidt [pointer]
  mov rbx, 0xfee00000
  mov dword ptr [rbx + 0xf0], 0x1ff
  mov dword ptr [rbx + 0x320], 0x40040
  mfence
  rdtsc
  add eax, ${1e9}
  adc edx, 0
  mov ecx, 0x6e0
  wrmsr
  sti
  inc dword ptr [rdi]
  again: hlt
  jmp again
  handler: inc dword ptr [rdi + 8]
  mov dword ptr [rbx + 0xb0], 0
  iretq
  pointer: .word 0x40f
  .quad idt
  .align 16
  idt: .fill 0x410, 1, 0`;

Deno.test({
  name: "engine kvm loads a state with its clocks: a timer that was set before the save rings after the load",
  ignore: ignore || await exists(PVM_PATH),
  async fn() {
    await withEngine(() => {}, async (first) => {
      const words = (engine: Engine) => new Uint32Array(engine.ram.buffer, RAM.COUNTER, 3);
      new Uint8Array(first.ram.buffer).set(gdt(), LOW.GDT);
      const tables = { gdt_base: BigInt(LOW.GDT), gdt_limit: BigInt(GDT_LIMIT), rsp: 0x8000n };
      start(first, 0, await assemble(DEADLINE, CODE), RAM.COUNTER, tables);
      while (words(first)[0] === 0) await first.run(0, 1e6);
      await first.pause!();
      assertEquals([...words(first)], [1, 0, 0]);
      await withEngine(() => {}, async (second) => {
        new Uint8Array(second.ram.buffer).set(new Uint8Array(first.ram.buffer));
        second.load(first.save());
        const end = performance.now() + 20_000;
        while (words(second)[2] === 0 && performance.now() < end) await second.run(0, 1e6);
        assertEquals([...words(second)], [1, 0, 1]);
      });
    });
  },
});

Deno.test({
  name: "engine kvm leaves no file open where it can not be opened",
  ignore,
  async fn() {
    await withEngine(() => {}, () => Promise.resolve());
    const files = () => [...Deno.readDirSync("/proc/self/fd")].length;
    await new Promise((resolve) => setTimeout(resolve, 200)); // Deno's own of the Worker before
    const before = files();
    // No whole number of pages.
    await assertRejects(
      async () => await openEngine(undefined, undefined, 4097),
      Error,
      "giving the guest its RAM: EINVAL",
    );
    assertEquals(files(), before);
  },
});

Deno.test({
  name: "engine kvm refuses what it has not: modes, registers, the instruction clock",
  ignore,
  async fn() {
    await withEngine(() => {}, (engine) => {
      const [hart] = engine.harts;
      assertThrows(
        () => hart.start({ pc: 0n, mode: "S" }),
        RangeError,
        "wanted a mode of real, protected, long, got S",
      );
      assertThrows(() => hart.get("a0"), RangeError, "Cannot read register a0");
      assertThrows(() => hart.set("a0", 0n), RangeError, "Cannot set register a0");
      return Promise.resolve();
    });
    assertThrows(() => kvm.open({ deterministic: true } as never), TypeError, `the clock "instructions"`);
  },
});
