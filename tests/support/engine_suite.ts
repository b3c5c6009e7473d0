// What every engine has to do, whatever it executes: one suite, run over each.

import { assert, assertEquals, assertGreater } from "@std/assert";
import type { Clock, Engine, EngineDefinition, Hart, Width } from "../../core/plugin.ts";

/** Where the suite's bus has its register; everything else faults. */
export const REGISTER = 0xd100_0000;
/** Offsets in RAM: what programs count at, and the pages that the program `stores` writes. */
export const RAM = { COUNTER: 0x10_0000, STORES: [0x123, 0x200], SIZE: 4 * 2 ** 20 } as const;

/** Programs of an engine's architecture; each may be started anywhere in RAM that the subject says. */
export interface EnginePrograms {
  /** Adds one to the word at the hart's counter, for ever. */
  readonly count: Uint8Array;
  /** Reads 4 bytes of the register, stores them plus one there, then the lowest byte, then counts for ever. */
  readonly access: Uint8Array;
  /** Stores a word to each page of {@linkcode RAM.STORES}, then a byte to the register, then counts for ever. */
  readonly stores: Uint8Array;
}

/** An engine under test. */
export interface EngineSubject {
  readonly definition: EngineDefinition;
  readonly ramBase: number;
  readonly programs: EnginePrograms;
  /** Starts a hart with a program that stands in RAM; it counts at `counter`. */
  start(engine: Engine, hart: number, program: Uint8Array, counter: number): void;
  /** Pages of RAM that the processor writes by itself, e.g. to mark what it used of page tables. */
  readonly walkedPages?: readonly number[];
  /** A register that holds a number over a run, unused by the programs. */
  readonly spareRegister: string;
}

interface Seen {
  readonly log: string[];
  /** Called at each access. */
  touched: () => void;
}

const STILL: Clock = { now: 0, alarm: () => ({ at() {}, cancel() {} }) };

async function open({ definition, ramBase }: EngineSubject, harts: number): Promise<{ engine: Engine; seen: Seen }> {
  const seen: Seen = { log: [], touched: () => {} };
  const engine = await definition.open({
    config: definition.config.parse({}, "engine"),
    ram: { base: ramBase, size: RAM.SIZE, shared: false },
    harts,
    bus: {
      read(at: number, width: Width) {
        seen.log.push(`read ${width} at ${at.toString(16)}`);
        seen.touched();
        return at === REGISTER ? 0x11223344 : -1;
      },
      write(at: number, value: number, width: Width) {
        seen.log.push(`write ${width} at ${at.toString(16)}: ${value.toString(16)}`);
        seen.touched();
        return at === REGISTER;
      },
    },
    clock: STILL,
    timebase: 10_000_000,
    deterministic: false,
    console: () => {},
    power: () => {},
  });
  return { engine, seen };
}

/** Runs until `done`, a millisecond or some thousand instructions at a time. */
async function runUntil(engine: Engine, what: string, done: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!done()) {
    const exit = await engine.run(5_000, 1_000_000);
    assertEquals(exit.reason, "budget");
    assert(performance.now() < deadline, `waited for ${what}`);
  }
}

/** Registers the tests. */
export function testEngine(name: string, ignore: boolean, subject: EngineSubject): void {
  const test = (what: string, fn: (rig: { engine: Engine; seen: Seen; word: Word }) => Promise<void>): void =>
    Deno.test({
      name: `engine ${name} ${what}`,
      ignore,
      async fn() {
        const { engine, seen } = await open(subject, 2);
        const view = new DataView(engine.ram.buffer, engine.ram.offset, engine.ram.size);
        try {
          await fn({ engine, seen, word: (offset) => view.getUint32(offset, true) });
        } finally {
          await engine.dispose();
        }
      },
    });
  type Word = (offset: number) => number;
  const { programs, start, spareRegister, walkedPages = [] } = subject;

  test("has RAM of whole pages, all zero, and its harts stopped", ({ engine, word }) => {
    assertEquals([engine.ram.base, engine.ram.size, engine.ram.offset % 4096], [subject.ramBase, RAM.SIZE, 0]);
    assertEquals([word(0), word(RAM.SIZE - 4)], [0, 0]);
    assertEquals(engine.harts.map((hart: Hart) => hart.stopped), [true, true]);
    return Promise.resolve();
  });

  test("runs code, both harts of it", async ({ engine, word }) => {
    start(engine, 0, programs.count, RAM.COUNTER);
    start(engine, 1, programs.count, RAM.COUNTER + 64);
    await runUntil(engine, "both counters", () => word(RAM.COUNTER) > 1000 && word(RAM.COUNTER + 64) > 1000);
  });

  test("brings register accesses to the bus, in order, and their answers back", async ({ engine, seen, word }) => {
    start(engine, 0, programs.access, RAM.COUNTER);
    await runUntil(engine, "the accesses", () => word(RAM.COUNTER) > 0);
    const at = REGISTER.toString(16);
    assertEquals(seen.log, [`read 4 at ${at}`, `write 4 at ${at}: 11223345`, `write 1 at ${at}: 45`]);
  });

  test("ends a run that is kicked, from inside an access or from outside", async ({ engine, seen, word }) => {
    seen.touched = () => engine.kick();
    start(engine, 0, programs.access, RAM.COUNTER);
    for (let i = 0; i < 3; i++) assertEquals((await engine.run(1e9, Infinity)).reason, "budget");
    assertEquals(seen.log.length, 3);
    seen.touched = () => {};
    await runUntil(engine, "the counter", () => word(RAM.COUNTER) > 0);
    if (engine.concurrent) {
      setTimeout(() => engine.kick(), 20);
      assertEquals((await engine.run(1e9, Infinity)).reason, "budget");
    }
  });

  test("stands still while it is paused", async ({ engine, word }) => {
    start(engine, 0, programs.count, RAM.COUNTER);
    for (let i = 0; i < 3; i++) {
      const before = word(RAM.COUNTER);
      await runUntil(engine, "the counter", () => word(RAM.COUNTER) > before);
      await engine.pause?.();
      const paused = word(RAM.COUNTER);
      await new Promise((resolve) => setTimeout(resolve, 20));
      assertEquals(word(RAM.COUNTER), paused);
    }
  });

  test("stops its harts at a reset, leaves RAM alone, and starts again", async ({ engine, word }) => {
    start(engine, 0, programs.count, RAM.COUNTER);
    await runUntil(engine, "the counter", () => word(RAM.COUNTER) > 10);
    await engine.pause?.();
    const before = word(RAM.COUNTER);
    engine.harts[0].set(spareRegister, 77n);
    engine.reset();
    assertEquals(engine.harts.map((hart) => hart.stopped), [true, true]);
    assertEquals([word(RAM.COUNTER), engine.harts[0].get(spareRegister)], [before, 0n]);
    start(engine, 0, programs.count, RAM.COUNTER);
    await runUntil(engine, "the counter", () => word(RAM.COUNTER) > before);
  });

  test("keeps registers over runs, and gives back what it saved", async ({ engine, word }) => {
    start(engine, 0, programs.count, RAM.COUNTER);
    engine.harts[0].set(spareRegister, 0x1234_5678_9abcn);
    await runUntil(engine, "the counter", () => word(RAM.COUNTER) > 10);
    await engine.pause?.();
    const saved = engine.save();
    assertEquals(engine.save(), saved);
    assertEquals(engine.harts[0].get(spareRegister), 0x1234_5678_9abcn);
    engine.harts[0].set(spareRegister, 1n);
    engine.load(saved);
    assertEquals(engine.harts[0].get(spareRegister), 0x1234_5678_9abcn);
    assertEquals(engine.save(), saved);
    const before = word(RAM.COUNTER);
    await runUntil(engine, "the counter again", () => word(RAM.COUNTER) > before);
  });

  test("tells each page that its harts wrote, once", async ({ engine, seen, word }) => {
    start(engine, 0, programs.stores, RAM.COUNTER);
    engine.collectDirty();
    assertEquals(engine.collectDirty(), []);
    await runUntil(engine, "the stores", () => seen.log.length > 0 && word(RAM.COUNTER) > 0);
    await engine.pause?.();
    const dirty = new Set(engine.collectDirty());
    for (const page of [...RAM.STORES, RAM.COUNTER >> 12]) assert(dirty.has(page), `page ${page}`);
    assert(!dirty.has(0x300) && dirty.size < 16, `${[...dirty]}`);
    assertEquals(engine.collectDirty(), []);
    const before = word(RAM.COUNTER);
    await runUntil(engine, "the counter", () => word(RAM.COUNTER) > before);
    await engine.pause?.();
    const pages = engine.collectDirty().filter((page) => !walkedPages.includes(page));
    assertEquals(pages, [RAM.COUNTER >> 12]);
    assertGreater(word(RAM.COUNTER), before);
  });
}
