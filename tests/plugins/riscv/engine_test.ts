// The riscv engine as a machine uses it: runs, turns, saving, changed code, dirty pages, HTIF.

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { assemble } from "../../../plugins/riscv/assembler.ts";
import { SLICE } from "../../../plugins/riscv/engine.ts";
import { Guest } from "../../support/riscv_guest.ts";
import { difference } from "../../support/riscv_lockstep.ts";
import { LOOPS_RAM_SIZE, RandomLoops } from "../../support/riscv_loops.ts";
import { RAM_SIZE, RandomProgram } from "../../support/riscv_random.ts";
import { DEVICE_BASE, encode, EngineRig, RAM_BASE, type RigOptions } from "../../support/riscv_rig.ts";

const START = BigInt(RAM_BASE);
const DATA = RAM_BASE + 0x4000;

/** An engine with a program for hart 0 (and, if it is there, hart 1), all in M-mode. */
function machine(source: string, second?: string, options: RigOptions = {}): EngineRig {
  const rig = new EngineRig({ ramSize: 2 ** 16, harts: second === undefined ? 1 : 2, ...options });
  [source, second].forEach((text, i) => {
    if (text === undefined) return;
    const base = RAM_BASE + i * 0x1000;
    rig.ram.set(assemble(text, { base }), base - RAM_BASE);
    rig.engine.harts[i].start({ pc: BigInt(base), mode: "M", registers: { mtvec: BigInt(RAM_BASE + 0x2000) } });
  });
  rig.engine.invalidate(RAM_BASE, 0x2000);
  return rig;
}

Deno.test("what is saved in mid-run and loaded into another engine goes on in the same way", () => {
  for (const program of [new RandomLoops(11, 12, 900), new RandomProgram(12, 40, 100), new RandomLoops(13, 12, 900)]) {
    const ramSize = program instanceof RandomLoops ? LOOPS_RAM_SIZE : RAM_SIZE;
    const legs = program.make();
    const first = new EngineRig({ ramSize, config: { threshold: 2 } });
    let second = first;
    legs.forEach(({ nudges, steps }, i) => {
      for (const rig of new Set([first, second])) {
        for (const nudge of nudges) nudge(rig);
        rig.run(steps);
      }
      if (i === 5) {
        // Another place of RAM in memory, and nothing of the caches.
        second = new EngineRig({ ramSize, config: { codeCache: 0 } });
        second.ram.set(first.ram);
        second.bus.digest = first.bus.digest;
        second.engine.load(structuredClone(first.engine.save()));
      }
      assertEquals(difference(second, first, { csrs: true, ram: true }), undefined, `leg ${i}`);
    });
    assertEquals(second.engine.save(), first.engine.save());
    assertEquals(second.engine.retired, first.engine.retired);
  }
});

Deno.test("a reservation is saved, wherever RAM stands in memory", () => {
  const first = new EngineRig({ ramSize: RAM_SIZE });
  first.program(RAM_BASE, Array.from(new Int32Array(assemble("lr.d a1, (a0); sc.d a2, a1, (a0)").buffer)));
  first.hart.start({ pc: BigInt(RAM_BASE), mode: "M", registers: { a0: BigInt(RAM_BASE + 64), a2: 5n } });
  first.run(1);
  const second = new EngineRig({ ramSize: RAM_SIZE, config: { codeCache: 0 } });
  second.ram.set(first.ram);
  second.engine.load(structuredClone(first.engine.save()));
  for (const rig of [first, second]) {
    rig.run(1);
    assertEquals(rig.hart.get("a2"), 0n);
  }
});

Deno.test("what is saved does not hang on run sizes, caches or compiled code", () => {
  const states = [{ compiler: false }, { codeCache: 0, compiler: false }, { threshold: 1 }, { threshold: 5 }].map(
    (config, i) => {
      const rig = new EngineRig({ ramSize: LOOPS_RAM_SIZE, config });
      for (const { nudges, steps } of new RandomLoops(21, 10, 2000).make()) {
        for (const nudge of nudges) nudge(rig);
        for (let left = steps, size = [1, 7, 64, 1e6][i]; left > 0; left -= size) rig.run(Math.min(left, size));
      }
      rig.hart.takeInterrupt();
      return rig.engine.save();
    },
  );
  for (const state of states) assertEquals(state, states[0]);
});

// ---------------------------------------------------------------- changed code

Deno.test("code that is overwritten runs as it is now, even before a fence, wherever the store comes from", () => {
  // Each round stores another instruction over the callee's first, and calls it; then one over the loop's own.
  const source = `
            li   s0, 4
            la   s2, callee
            la   s5, self
    loop:   sw   s1, 0(s2)
            call callee
            add  s1, s1, s3
            addi s0, s0, -1
            bnez s0, loop
    self:   addi a1, a1, 1
            bnez a2, done
            li   a2, 1
            sw   s4, 0(s5)
            j    self
    done:   wfi
            .balign 4096
    callee: nop
            ret
  `;
  for (const config of [{ compiler: false }, { threshold: 1 }]) {
    const guest = new Guest(source, {
      config,
      registers: {
        s1: encode("addi", { rd: 10, rs1: 10, imm: 1 }),
        s3: 1 << 20, // the next immediate
        s4: encode("addi", { rd: 11, rs1: 11, imm: 2 }),
      },
    });
    guest.run(100);
    assert(guest.engine.idle);
    assertEquals([guest.get("a0"), guest.get("a1")], [1n + 2n + 3n + 4n, 3n]);
  }
});

Deno.test("an instruction that overwrites the next one is seen at once", () => {
  const guest = new Guest("sw a1, 4(a0); nop; addi a3, a3, 1; wfi", {
    registers: { a0: RAM_BASE, a1: encode("addi", { rd: 12, rs1: 12, imm: 7 }) },
  });
  assertEquals(guest.run(2).get("a2"), 7n);
});

Deno.test("code written by a device runs anew once the engine is told, and breaks reservations", () => {
  const guest = new Guest("loop: addi a0, a0, 1; lr.w t0, (s0); sc.w t1, t0, (s0); add t2, t2, t1; j loop", {
    registers: { s0: DATA },
    config: { threshold: 1 },
  });
  guest.run(5 * 20);
  assertEquals([guest.get("a0"), guest.get("t2")], [20n, 0n]);
  guest.each((rig) => rig.program(RAM_BASE, [encode("addi", { rd: 10, rs1: 10, imm: -1 })]));
  guest.run(5 * 20);
  assertEquals(guest.get("a0"), 0n);
  guest.run(2).each((rig) => rig.invalidate(DATA, 4)).run(1);
  assertEquals(guest.get("t1"), 1n);
});

Deno.test("more code than the cache holds runs all the same", () => {
  // Twelve pages that call each other, in a cache of one.
  const pages = Array.from({ length: 12 }, (_, i) => `.balign 4096; f${i}: addi a0, a0, 1; j f${i + 1}`);
  const source = `li s0, 3; loop: j f0; back: addi s0, s0, -1; bnez s0, loop; wfi; ${pages.join("; ")}
    .balign 4096; f12: j back`;
  const guest = new Guest(source, { config: { codeCache: 0 }, base: RAM_BASE + 0x1_0000 });
  guest.run(200);
  assert(guest.engine.idle);
  assertEquals(guest.get("a0"), 36n);
});

// ---------------------------------------------------------------- runs and turns

Deno.test("run makes the steps it is given, and retired is exact whenever the engine calls out", () => {
  const seen: number[] = [];
  const rig = machine("li a0, 0x10000000; loop: addi a1, a1, 1; sw a1, 0(a0); j loop");
  rig.bus.seen = () => seen.push(rig.engine.retired);
  assertEquals(rig.engine.run(100), { reason: "budget" });
  assertEquals(rig.engine.retired, 100);
  assertEquals(seen.slice(0, 3), [3, 6, 9]);
});

Deno.test("kick from inside a call ends the run right behind the instruction that made it", () => {
  const rig = machine("li a0, 0x10000000; nop; sw a1, 0(a0); nop; nop; nop");
  rig.bus.seen = () => rig.engine.kick();
  assertEquals(rig.engine.run(100), { reason: "budget" });
  assertEquals([rig.engine.retired, rig.hart.get("pc")], [3, START + 12n]);
  assertEquals([rig.engine.run(2), rig.engine.retired], [{ reason: "budget" }, 5]);
});

Deno.test("an engine whose harts all wait is idle, however often it is asked", () => {
  const rig = machine("wfi; addi a0, a0, 1; wfi", "csrw mie, a1; wfi; addi a0, a0, 1; j .");
  rig.engine.harts[1].set("a1", 2n);
  assertEquals(rig.engine.run(100), { reason: "idle" });
  const before = rig.engine.save();
  for (let i = 0; i < 3; i++) assertEquals(rig.engine.run(100), { reason: "idle" });
  assertEquals(rig.engine.save(), before, "asking changes nothing");
  rig.engine.harts[1].setInterrupt(1, true);
  assertEquals(rig.engine.run(10), { reason: "budget" });
  assertEquals([rig.hart.get("a0"), rig.engine.harts[1].get("a0")], [0n, 1n]);
});

Deno.test("harts take turns of equal length, pause ends one early, and a stopped hart takes none", () => {
  const loop = "loop: addi a0, a0, 1; j loop";
  const rig = machine(loop, loop);
  rig.engine.run(4 * SLICE);
  assertEquals(rig.engine.harts.map((hart) => hart.get("a0")), [BigInt(SLICE), BigInt(SLICE)]);
  rig.engine.harts[1].stop();
  rig.engine.run(SLICE);
  assertEquals(rig.engine.harts.map((hart) => hart.get("a0")), [BigInt(SLICE * 1.5), BigInt(SLICE)]);

  const polite = machine("loop: addi a0, a0, 1; pause; j loop", loop);
  polite.engine.run(2 + SLICE + 3 + SLICE);
  assertEquals(polite.engine.harts.map((hart) => hart.get("a0")), [2n, BigInt(SLICE)]);
});

Deno.test("a reservation does not outlive a hart's turn, after which others may store", () => {
  const rig = machine(
    `li s0, ${DATA}; lr.w a0, (s0); pause; sc.w a1, a0, (s0); lr.w a0, (s0); nop; sc.w a2, a0, (s0); wfi`,
    "wfi",
  );
  rig.hart.set("a2", 5n);
  rig.engine.run(100);
  assertEquals([rig.hart.get("a1"), rig.hart.get("a2")], [1n, 0n]);
});

Deno.test("an only hart keeps its reservation, whatever it pauses and however many steps it makes", () => {
  const rig = machine(`li s0, ${DATA}; lr.w a0, (s0); pause; li t0, ${SLICE}; wait: addi t0, t0, -1; bnez t0, wait
    li a1, 7; sc.w a1, a0, (s0); wfi`);
  rig.engine.run(3 * SLICE);
  assertEquals([rig.hart.get("t0"), rig.hart.get("a1")], [0n, 0n]);
});

Deno.test("the state of several harts does not hang on the size of runs", () => {
  // They wake each other by the toy device's lines (of hart 0), count, and pause.
  const source = (self: number) => `
    li s0, 0x10000000
    li s1, ${DATA}
    loop: amoadd.w a0, s2, (s1)
    addi s2, s2, ${3 + self}
    andi t0, s2, 63
    bnez t0, loop
    pause
    sw s2, 0x20(s0)
    lr.w t1, (s1)
    addi t1, t1, 1
    sc.w t2, t1, (s1)
    add s3, s3, t2
    j loop`;
  const states = [1, 7, 1000, 1e6].map((size) => {
    const rig = machine(source(0), source(1), { config: { threshold: 3 } });
    for (let left = 3 * SLICE; left > 0; left -= size) rig.engine.run(Math.min(left, size));
    return [rig.engine.save(), rig.peek(DATA), rig.bus.digest];
  });
  for (const state of states) assertEquals(state, states[0]);
});

Deno.test("calls from S-mode go to the host's firmware, unless the guest brought its own", () => {
  const calls: bigint[] = [];
  const firmware: RigOptions = {
    firmware: ({ hart }) => {
      calls.push(hart.get("a7"));
      hart.set("a0", 42n);
    },
  };
  const rig = new EngineRig({ ramSize: 2 ** 16, ...firmware });
  rig.program(RAM_BASE, [encode("ecall"), encode("addi", { rd: 11, rs1: 10 }), encode("ecall")]);
  rig.hart.start({ pc: START, mode: "S", registers: { a7: 7n } });
  rig.engine.run(2);
  assertEquals([calls, rig.hart.get("a1"), rig.engine.retired], [[7n], 42n, 2]);

  assertEquals(new Guest("ecall", { mode: "S", ...firmware }).trap().cause, 9);
  assertEquals(calls.length, 1);
});

Deno.test("a hart started in S-mode finds what firmware would have set up", () => {
  const rig = new EngineRig({ ramSize: 2 ** 16, firmware: () => {} });
  rig.hart.start({ pc: START, mode: "S", registers: { a0: 3n } });
  const { hart } = rig;
  assertEquals([hart.mode, hart.get("pc"), hart.get("a0"), hart.get("satp")], [1, START, 3n, 0n]);
  assertEquals([hart.get("mideleg"), hart.get("mcounteren"), hart.get("scounteren")], [0x222n, 7n, 7n]);
  assertEquals(hart.get("medeleg"), 0xb1ffn);
  assertEquals(hart.get("menvcfg") >> 61n, 5n, "STCE and ADUE");
  assertEquals(hart.get("sstatus") & 0x6002n, 0x2000n, "interrupts off, floating point on");
});

Deno.test("starting a running hart, an unknown mode and an unknown register are refused", () => {
  const rig = machine("nop");
  assertThrows(() => rig.hart.start({ pc: 0n, mode: "M" }), Error, "it runs already");
  rig.hart.stop();
  const bad = assertThrows(() => rig.hart.start({ pc: 0n, mode: "H" }), RangeError) as Error;
  assertStringIncludes(bad.message, 'got "H"');
  assertThrows(() => rig.hart.get("x32"), RangeError);
  assertThrows(() => rig.hart.set("mcsr", 0n), RangeError);
});

Deno.test("x0 reads as zero however it is set", () => {
  const rig = machine("addi zero, zero, 5; add a0, zero, zero");
  rig.hart.set("zero", 9n);
  rig.engine.run(2);
  assertEquals([rig.hart.get("zero"), rig.hart.get("x0"), rig.hart.get("a0")], [0n, 0n, 0n]);
});

Deno.test("reset gives the state at power-on", () => {
  const rig = machine("nop; nop; csrw mscratch, a0; wfi");
  rig.hart.set("a0", 1n);
  rig.hart.set("pmpcfg0", 0x9fn);
  rig.engine.run(10);
  rig.engine.reset();
  assertEquals([rig.hart.stopped, rig.hart.get("mscratch"), rig.hart.get("a0"), rig.hart.get("pmpcfg0")], [
    true,
    0n,
    0n,
    0n,
  ]);
  assertEquals(rig.engine.run(10), { reason: "idle" });
  rig.hart.start({ pc: START, mode: "M" });
  rig.engine.run(2);
  assertEquals(rig.hart.get("pc"), START + 8n);
});

// ---------------------------------------------------------------- memory

Deno.test("collectDirty tells each page once that stores, atomics or page walks wrote", () => {
  const rig = machine("loop: sd a0, 0(s0); amoadd.w a0, a0, (s1); ld a0, 0(s2); sh a0, -1(s3); j loop");
  [0x5000, 0x6000, 0x7000, 0x9000].forEach((offset, i) => rig.hart.set(`s${i}`, BigInt(RAM_BASE + offset)));
  rig.engine.collectDirty();
  for (let round = 0; round < 3; round++) {
    rig.engine.run(20);
    assertEquals(rig.engine.collectDirty(), [5, 6, 8, 9]);
    assertEquals(rig.engine.collectDirty(), []);
  }
  rig.engine.invalidate(RAM_BASE + 0x1ffc, 8);
  assertEquals(rig.engine.collectDirty(), [1, 2]);
});

Deno.test("RAM may be shared memory", () => {
  const rig = new EngineRig({ ramSize: 2 ** 16, shared: true });
  assert(rig.engine.ram.buffer instanceof SharedArrayBuffer);
  rig.program(RAM_BASE, [encode("addi", { rd: 10, imm: 5 }), encode("sd", { rs1: 11, rs2: 10 })]);
  rig.hart.start({ pc: START, mode: "M", registers: { a1: BigInt(DATA) } });
  rig.engine.run(2);
  assertEquals(rig.peek(DATA), 5n);
});

Deno.test("RAM that the host can not give is refused with its size", () => {
  const error = assertThrows(() => new EngineRig({ ramSize: 2 ** 33 }), RangeError) as Error;
  assertStringIncludes(error.message, String(2 ** 33));
});

// ---------------------------------------------------------------- HTIF

Deno.test("a store to tohost ends the run with the test's code, or prints", () => {
  const printed: string[] = [];
  const console = (bytes: Uint8Array) => void printed.push(new TextDecoder().decode(bytes));
  const rig = machine("sd a0, 0(s0); ld a1, 0(s0); ld a2, 0(s1); sd a3, 0(s0); nop; nop", undefined, { console });
  const [tohost, fromhost] = [DATA, DATA + 8];
  rig.engine.htif!(tohost, fromhost);
  for (const [name, value] of [["s0", tohost], ["s1", fromhost]] as const) rig.hart.set(name, BigInt(value));
  rig.hart.set("a0", 1n << 56n | 1n << 48n | 0x41n);
  rig.hart.set("a3", 5n << 1n | 1n);
  assertEquals(rig.engine.run(100), { reason: "off", code: 5 });
  assertEquals([printed, rig.hart.get("a1"), rig.hart.get("a2")], [["A"], 0n, 1n]);
  assertEquals(rig.hart.get("pc"), START + 16n, "right behind the store");
});

Deno.test("tohost is watched through every kind of store to any part of it, and nothing beside it is", () => {
  const whole = ["sw a0, 0(s0)", "sd a0, 0(s0)", "amoswap.d a1, a0, (s0)", "sb a0, 0(s0)", "sd a1, -4(s0)"];
  const parts = ["sb zero, 7(s0)", "sh zero, 3(s0)", "sw zero, 4(s0)", "sd zero, 4(s0)"];
  // Across pages, and within one.
  for (const tohost of [DATA, DATA + 64]) {
    for (const store of [...whole, ...parts]) {
      const rig = machine(`sd zero, 16(s0); sd zero, -8(s0); ${store}; nop; nop`);
      rig.engine.htif!(tohost);
      rig.poke(tohost, 1n);
      rig.hart.set("s0", BigInt(tohost));
      rig.hart.set("a0", 1n);
      rig.hart.set("a1", 1n << 32n);
      assertEquals(rig.engine.run(100), { reason: "off", code: 0 }, store);
      assertEquals(rig.engine.retired, 3, store);
    }
  }
});

Deno.test("devices' accesses have the width of the instruction; a doubleword is two words, the low one first", () => {
  const seen: [number, number | undefined][] = [];
  const rig = machine("sd a0, 0(s0); ld a1, 8(s0); sb a0, 3(s0); lhu a2, 2(s0)");
  rig.bus.seen = (at, value) => seen.push([at - DEVICE_BASE, value]);
  rig.hart.set("a0", 0x11223344_55667788n);
  rig.hart.set("s0", BigInt(DEVICE_BASE));
  rig.engine.run(4);
  assertEquals(seen, [[0, 0x55667788], [4, 0x11223344], [8, undefined], [12, undefined], [3, 0x88], [2, undefined]]);
});
