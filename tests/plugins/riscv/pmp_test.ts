// Physical memory protection, as the privileged specification 20240411 words it (section 3.7).

import { assertEquals } from "@std/assert";
import { ACCESS, MODE } from "../../../plugins/riscv/cause.ts";
import { Pmp, PMP_ENTRIES } from "../../../plugins/riscv/pmp.ts";
import { Guest } from "../../support/riscv_guest.ts";
import { encode, RAM_BASE } from "../../support/riscv_rig.ts";
import { Operands } from "./fp_operands.ts";

const R = 1, W = 2, X = 4, TOR = 1 << 3, NA4 = 2 << 3, NAPOT = 3 << 3, L = 0x80;
const START = BigInt(RAM_BASE);
const DATA = RAM_BASE + 0x8000;

/** NAPOT's pmpaddr for a range. */
const napot = (base: number, size: number) => BigInt(base) / 4n | BigInt(size / 8 - 1);

/** A unit with entries set: configuration and address each. */
function unit(...entries: [cfg: number, address: bigint | number][]): Pmp {
  const pmp = new Pmp();
  entries.forEach(([cfg, address], i) => {
    pmp.writeAddress(i, BigInt(address));
    pmp.writeCfg(i, cfg);
  });
  pmp.update();
  return pmp;
}

const load = (pmp: Pmp, at: number, length = 4, mode: 0 | 1 | 3 = MODE.S) => pmp.check(at, length, ACCESS.load, mode);

Deno.test("an access that no entry matches succeeds in M-mode and fails in S- and U-mode", () => {
  for (const pmp of [unit(), unit([NAPOT | R, napot(0x1000, 64)])]) {
    assertEquals([load(pmp, 0x8000), load(pmp, 0x8000, 4, MODE.U), load(pmp, 0x8000, 4, MODE.M)], [
      "deny",
      "deny",
      "allow",
    ]);
  }
});

Deno.test("NA4 matches four bytes, NAPOT a power of two from 8 bytes to the whole address space", () => {
  const four = unit([NA4 | R, 0x1000 / 4]);
  assertEquals([load(four, 0xffc), load(four, 0x1000), load(four, 0x1004)], ["deny", "allow", "deny"]);
  for (const size of [8, 16, 4096, 2 ** 30]) {
    const pmp = unit([NAPOT | R, napot(4 * size, size)]);
    assertEquals(load(pmp, 4 * size), "allow");
    assertEquals(load(pmp, 5 * size - 4), "allow");
    assertEquals([load(pmp, 4 * size - 4), load(pmp, 5 * size)], ["deny", "deny"]);
  }
  const all = unit([NAPOT | R, -1n]);
  assertEquals([load(all, 0), load(all, 2 ** 55)], ["allow", "allow"]);
  assertEquals([ACCESS.store, ACCESS.fetch].map((access) => all.check(0, 4, access, MODE.S)), ["deny", "deny"]);
});

Deno.test("TOR matches from the address below it, from zero for entry 0, and nothing where the bounds are reversed", () => {
  const pmp = unit([TOR | R, 0x1000 / 4], [TOR | R | W, 0x3000 / 4], [TOR | R, 0x2000 / 4]);
  const store = (at: number) => pmp.check(at, 4, ACCESS.store, MODE.S);
  assertEquals([load(pmp, 0), load(pmp, 0xffc), store(0xffc)], ["allow", "allow", "deny"]);
  assertEquals([store(0x1000), store(0x2ffc), store(0x3000)], ["allow", "allow", "deny"]);
  // The bound is that register's, whatever its own entry does.
  const off = unit([0, 0x1000 / 4], [TOR | R, 0x2000 / 4]);
  assertEquals([load(off, 0xffc), load(off, 0x1000)], ["deny", "allow"]);
});

Deno.test("the lowest-numbered entry that matches any byte decides; it must match all bytes", () => {
  const pmp = unit([NA4 | 0, 0x1000 / 4], [NAPOT | R | W | X, napot(0x1000, 4096)]);
  assertEquals([load(pmp, 0x1000), load(pmp, 0x1004), load(pmp, 0x1008, 8)], ["deny", "allow", "allow"]);
  assertEquals([load(pmp, 0x1000, 8), load(pmp, 0x1002, 4)], ["split", "split"]);
  assertEquals(load(pmp, 0x1000, 8, MODE.M), "split", "irrespective of L and the permissions");
});

Deno.test("entries bind M-mode only when locked", () => {
  const free = unit([NAPOT | R, napot(0x1000, 64)]), locked = unit([NAPOT | R | L, napot(0x1000, 64)]);
  const store = (pmp: Pmp, mode: 0 | 1 | 3) => pmp.check(0x1000, 4, ACCESS.store, mode);
  assertEquals([store(free, MODE.M), store(free, MODE.S)], ["allow", "deny"]);
  assertEquals([store(locked, MODE.M), store(locked, MODE.S)], ["deny", "deny"]);
  assertEquals(load(locked, 0x1000, 4, MODE.M), "allow");
});

Deno.test("writes to a locked entry, and to the address below a locked TOR entry, are ignored", () => {
  const pmp = unit([0, 1], [TOR | L, 2], [NA4 | L, 3]);
  for (let i = 0; i < 3; i++) {
    pmp.writeAddress(i, 77n);
    if (i) pmp.writeCfg(i, NAPOT | R);
  }
  assertEquals([...pmp.address.slice(0, 3)], [1n, 2n, 3n]);
  assertEquals([...pmp.cfg.slice(0, 3)], [0, TOR | L, NA4 | L]);
  pmp.writeCfg(0, R);
  assertEquals(pmp.cfg[0], R, "the configuration below is not locked");
  const other = unit([0, 1], [NA4 | L, 2]);
  other.writeAddress(0, 77n);
  assertEquals(other.address[0], 77n, "only TOR locks what is below");
});

Deno.test("W without R is reserved; bits 5 and 6 read as zero; addresses have 54 bits", () => {
  const guest = new Guest("csrw pmpcfg0, a0; csrr a1, pmpcfg0; csrw pmpaddr0, a2; csrr a3, pmpaddr0", {
    registers: { a0: 0x02_03_06_07_7f_62_01n, a2: -1 },
  });
  guest.run(4);
  assertEquals(guest.get("a1"), 0x00_03_04_07_1f_00_01n);
  assertEquals(guest.get("a3"), 2n ** 54n - 1n);
});

Deno.test("reset unlocks all entries", () => {
  const pmp = unit([NAPOT | L, -1n]);
  pmp.reset();
  assertEquals([pmp.cfg[0], pmp.address[0], load(pmp, 0, 4, MODE.M)], [0, 0n, "allow"]);
});

Deno.test("random entries judge as a byte-by-byte reading of the specification does", () => {
  const random = new Operands(6);
  for (let round = 0; round < 400; round++) {
    const entries = Array.from({ length: 4 }, (): [number, bigint] => {
      const ones = BigInt(2 ** random.below(6) - 1);
      return [random.below(256) & ~0x60, BigInt(random.below(64)) | ones];
    });
    const pmp = unit(...entries);
    for (let n = 0; n < 20; n++) {
      const [at, length] = [random.below(256), 2 ** random.below(4)];
      const [access, mode] = [random.below(3) as 0 | 1 | 2, [0, 1, 3][random.below(3)] as 0 | 1 | 3];
      const verdict = pmp.check(at, length, access, mode) === "allow";
      assertEquals(verdict, allowed(pmp, at, length, access, mode), `${entries} ${at} ${length} ${access} ${mode}`);
    }
  }
});

/** Which entry matches each byte, and what follows. */
function allowed(pmp: Pmp, at: number, length: number, access: 0 | 1 | 2, mode: 0 | 1 | 3): boolean {
  const matches = (i: number, byte: number): boolean => {
    const address = Number(pmp.address[i]);
    const kind = pmp.cfg[i] >> 3 & 3;
    if (kind === 1) return byte >= (i ? Number(pmp.address[i - 1]) * 4 : 0) && byte < address * 4;
    if (kind === 2) return byte >> 2 === address;
    if (kind === 0) return false;
    let ones = 0;
    while (address >> ones & 1) ones++;
    return byte >> ones + 3 === address * 4 >> ones + 3;
  };
  const bytes = Array.from({ length }, (_, i) => at + i);
  for (let i = 0; i < PMP_ENTRIES; i++) {
    const matched = bytes.filter((byte) => matches(i, byte)).length;
    if (!matched) continue;
    if (matched < length) return false;
    if (mode === MODE.M && !(pmp.cfg[i] & L)) return true;
    return (pmp.cfg[i] & [X, R, W][access]) !== 0;
  }
  return mode === MODE.M;
}

// ---------------------------------------------------------------- in a hart

/** A guest under entries that leave `from` to `from + 8` with the permissions given, the rest with all. */
function guarded(source: string, from: number, permissions: number, mode: "M" | "S" | "U" = "S"): Guest {
  return new Guest(source, {
    mode,
    prepare(rig) {
      rig.hart.set("pmpaddr0", napot(from, 8));
      rig.hart.set("pmpcfg0", BigInt(NAPOT | permissions));
      rig.hart.set("a0", BigInt(DATA));
      // Compressed no-ops and a jump back, to be executed where the entry divides the page.
      rig.program(DATA, [0x0001_0001, 0x0001_0001, 0x0001_0001, encode("addi"), encode("jal")]);
    },
  });
}

Deno.test("a region smaller than a page binds loads and stores next to others that are free", () => {
  for (const mode of ["S", "U"] as const) {
    const guest = guarded("ld a1, 0(a0); ld a1, 16(a0); sd a1, 16(a0); sd a1, 8(a0); sd a1, 0(a0)", DATA + 8, R, mode);
    assertEquals(guest.trap(), { to: "M", cause: 7, value: BigInt(DATA + 8), epc: START + 12n });
  }
  assertEquals(guarded("ld a1, 16(a0); ld a1, 8(a0)", DATA + 8, W).trap().cause, 5);
  assertEquals(guarded("ld a1, 16(a0); ld a1, 4(a0)", DATA + 8, 0).trap().value, BigInt(DATA + 4));
  assertEquals(guarded("lr.w a1, (a0); sc.w a1, a1, (a0); amoadd.w a1, a1, (a0)", DATA, R).trap().epc, START + 4n);
});

Deno.test("a region smaller than a page binds instruction fetches, and what runs around it runs as ever", () => {
  for (const mode of ["S", "U"] as const) {
    const guest = guarded("jr a0", DATA + 8, R, mode);
    assertEquals(guest.trap(), { to: "M", cause: 1, value: BigInt(DATA + 8), epc: BigInt(DATA + 8) });
  }
  const loop = guarded("jr a0", DATA + 32, 0).run(30);
  assertEquals([loop.get("mcause"), loop.get("pc")], [0n, BigInt(DATA + 16)]);
  // A 4-byte instruction whose second half is denied.
  const half = guarded("addi a0, a0, 6; jr a0", DATA + 8, R);
  half.each((rig) => rig.program(DATA + 4, [0x0013_0001, 0x0001_0000]));
  assertEquals(half.trap(), { to: "M", cause: 1, value: BigInt(DATA + 8), epc: BigInt(DATA + 6) });
});

Deno.test("entries written by the guest hold from the next instruction on, for what is cached too", () => {
  const guest = new Guest("ld a1, 0(a0); csrw pmpaddr0, a2; csrw pmpcfg0, a3; ld a1, 0(a0)", {
    registers: { a0: DATA, a2: napot(DATA, 8), a3: NAPOT | L },
  });
  assertEquals(guest.trap(), { to: "M", cause: 5, value: BigInt(DATA), epc: START + 12n });
  const code = new Guest("csrw pmpaddr0, a2; csrw pmpcfg0, a3; nop; nop", {
    registers: { a2: napot(RAM_BASE + 8, 8), a3: NAPOT | L },
  });
  assertEquals(code.trap(), { to: "M", cause: 1, value: START + 8n, epc: START + 8n });
});

Deno.test("a store across pages is judged part by part, and nothing is stored if either is denied", () => {
  const guest = guarded("sd a0, 0(a1)", DATA + 0x1000, R);
  guest.each(({ hart }) => hart.set("a1", BigInt(DATA + 0xffc)));
  assertEquals(guest.trap(), { to: "M", cause: 7, value: BigInt(DATA + 0x1000), epc: START });
  assertEquals(guest.engine.peek(DATA + 0xff8), 0n);
});
