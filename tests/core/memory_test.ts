// Guest memory: bounds, loans, dirty pages, dropped code.

import { assertEquals, assertThrows } from "@std/assert";
import { GuestMemory } from "../../core/memory.ts";
import { DmaFault } from "../../core/plugin.ts";

const BASE = 0x8000_0000;
const SIZE = 0x4000;

type BufferMaker = new (size: number) => ArrayBufferLike;

interface Rig {
  readonly subject: GuestMemory;
  readonly written: string[];
  readonly ram: Uint8Array<ArrayBufferLike>;
}

function rig(Buffer: BufferMaker, privateLoans: boolean): Rig {
  const buffer = new Buffer(SIZE + 0x1000);
  const written: string[] = [];
  const subject = new GuestMemory({ buffer, offset: 0x1000, base: BASE, size: SIZE }, {
    written: (at, length) => written.push(`0x${at.toString(16)}+${length}`),
    privateLoans,
  });
  return { subject, written, ram: new Uint8Array(buffer, 0x1000, SIZE) };
}

for (const Buffer of [ArrayBuffer, SharedArrayBuffer]) {
  const memory = (privateLoans = false): Rig => rig(Buffer, privateLoans);
  const on = `on ${Buffer.name}`;

  Deno.test(`memory ${on} loads and stores little-endian numbers`, () => {
    const { subject, ram } = memory();
    subject.store(BASE + 8, 0x89abcdef, 4);
    subject.store(BASE + 12, 0x1234, 2);
    subject.store(BASE + 14, 0xff, 1);
    assertEquals([...ram.subarray(8, 16)], [0xef, 0xcd, 0xab, 0x89, 0x34, 0x12, 0xff, 0]);
    assertEquals(subject.load(BASE + 8, 4), 0x89abcdef);
    assertEquals([subject.load(BASE + 9, 2), subject.load(BASE + 14, 1)], [0xabcd, 0xff]);
    assertEquals(subject.load64(BASE + 8), 0xff1234 * 2 ** 32 + 0x89abcdef);
  });

  Deno.test(`memory ${on} still counts loans of RAM itself as written when only private ones are forgotten`, () => {
    const { subject, written } = memory();
    const loan = subject.borrow(BASE + 0x1000, 16, "write");
    subject.forgetPrivateLoans();
    assertEquals(subject.lent, 1);
    loan.done();
    assertEquals([written, subject.collectDirty(), subject.lent], [["0x80001000+16"], [1], 0]);
  });

  Deno.test(`memory ${on} refuses everything outside of RAM`, () => {
    const { subject } = memory();
    const last = BASE + SIZE;
    const outside = [
      () => subject.load(BASE - 1, 1),
      () => subject.load(last - 3, 4),
      () => subject.load64(last - 4),
      () => subject.store(last, 0, 1),
      () => subject.load(NaN, 4),
      () => subject.load(2 ** 63, 4),
      () => subject.borrow(BASE, SIZE + 1, "read"),
      () => subject.borrow(BASE, -1, "read"),
      () => subject.borrow(BASE, NaN, "write"),
      () => subject.borrow(BASE - 1, 0, "read"),
      () => subject.read(last - 1, new Uint8Array(2)),
      () => subject.write(BASE - 1, new Uint8Array(2)),
    ];
    for (const access of outside) assertThrows(access, DmaFault, "is not RAM");
    subject.borrow(last, 0, "read").done();
  });

  Deno.test(`memory ${on} tells what devices write, and which pages`, () => {
    const { subject, written } = memory();
    subject.store(BASE + 0x1000, 1, 4);
    subject.write(BASE + 0x1ffe, Uint8Array.of(1, 2, 3));
    subject.read(BASE + 0x3000, new Uint8Array(4));
    subject.write(BASE, new Uint8Array());
    assertEquals(written, ["0x80001000+4", "0x80001ffe+3"]);
    assertEquals([subject.collectDirty(), subject.collectDirty()], [[1, 2], []]);
  });

  Deno.test(`memory ${on} lends RAM itself and counts it written when it is given back`, () => {
    const { subject, written, ram } = memory();
    const loan = subject.borrow(BASE + 4, 8, "write");
    assertEquals(subject.lent, 1);
    loan.bytes.fill(7);
    assertEquals([ram[4], written], [7, []]);
    loan.done(3);
    assertEquals([subject.lent, written, subject.collectDirty()], [0, ["0x80000004+3"], [0]]);
    subject.borrow(BASE, 8, "read").done();
    subject.borrow(BASE, 8, "write").done();
    assertEquals(written, ["0x80000004+3", "0x80000000+8"]);
  });

  Deno.test(`memory ${on} takes a loan back once, and no more than was lent`, () => {
    const { subject } = memory();
    const loan = subject.borrow(BASE, 8, "write");
    assertThrows(() => subject.borrow(BASE, 8, "write").done(9), RangeError, "wanted 0 to 8 written, got 9");
    loan.done();
    assertThrows(() => loan.done(), Error, "given back before");
  });

  Deno.test(`memory ${on} lends private copies where time is counted in instructions`, () => {
    const { subject, ram } = memory(true);
    ram[0] = 1;
    const [reading, writing] = [subject.borrow(BASE, 4, "read"), subject.borrow(BASE, 4, "write")];
    ram[0] = 2;
    writing.bytes.fill(9);
    assertEquals([reading.bytes[0], ram[0]], [1, 2]);
    writing.done(2);
    assertEquals([...ram.subarray(0, 4)], [9, 9, 0, 0]);
    const late = subject.borrow(BASE, 4, "write");
    late.bytes.fill(5);
    subject.forgetPrivateLoans();
    late.done();
    assertEquals(ram[0], 9);
  });
}
