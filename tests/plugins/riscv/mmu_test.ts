// Address translation, as the privileged specification 20240411 words it (sections 10.3 to 10.6, 3.1.6.3; Svadu).

import { assert, assertEquals } from "@std/assert";
import { Guest, type GuestOptions } from "../../support/riscv_guest.ts";
import { entry, PageTables, PTE, SCHEMES } from "../../support/riscv_pages.ts";
import { DEVICE_BASE, encode, RAM_BASE, type Rig } from "../../support/riscv_rig.ts";

const { V, R, W, X, U, G, A, D } = PTE;
const ALL = V | R | W | X | A | D;
const TABLES = RAM_BASE + 0x1_0000;
const DATA = RAM_BASE + 0x8000;
/** Where the page under test is seen. */
const HERE = 0x1234_5000n;
const SUM = 1n << 18n, MXR = 1n << 19n, MPRV = 1n << 17n;
const ADUE = 1n << 61n;
const FAULT = { fetch: 12, load: 13, store: 15 } as const;
const ACCESS_FAULT = { fetch: 1, load: 5, store: 7 } as const;
const SOURCE = { fetch: "jr a0", load: "ld a1, 0(a0)", store: "sd a1, 0(a0)" } as const;
type Access = keyof typeof SOURCE;
const ACCESSES = Object.keys(SOURCE) as Access[];

interface Case extends GuestOptions {
  readonly flags?: number;
  readonly level?: number;
  readonly physical?: number;
  readonly at?: bigint;
  readonly scheme?: 8 | 9 | 10;
  /** Changes the tables; `leaf` is the address of the entry under test. */
  readonly change?: (rig: Rig, tables: PageTables, leaf: number) => void;
}

/** A guest whose code is mapped for its mode, and one page under test at `HERE`. */
function paged(source: string, options: Case = {}): Guest {
  const { flags = ALL, level = 0, physical = DATA, at = HERE, scheme = 8, change, mode = "S" } = options;
  return new Guest(source, {
    ...options,
    mode,
    prepare(rig) {
      const tables = new PageTables(rig, TABLES);
      tables.map(BigInt(RAM_BASE), RAM_BASE, V | R | X | A | (mode === "U" ? U : 0));
      const leaf = tables.map(at, physical, flags, level);
      rig.program(DATA, [encode("jal"), 0x01234567]); // something to jump to
      change?.(rig, tables, leaf);
      rig.hart.set("satp", tables.satp(scheme));
      rig.hart.set("a0", at);
    },
  });
}

/** Makes the access; gives the cause of its trap, or 0. */
function access(kind: Access, options: Case = {}): number {
  const guest = paged(SOURCE[kind], options).run(kind === "fetch" ? 2 : 1);
  const cause = Number(guest.get("mcause"));
  if (cause) assertEquals(guest.get("mtval"), BigInt.asUintN(64, options.at ?? HERE));
  return cause;
}

/** The causes of fetch, load and store. */
const accesses = (options: Case = {}): number[] => ACCESSES.map((kind) => access(kind, options));
const PAGE_FAULTS = [12, 13, 15];
const ACCESS_FAULTS = [1, 5, 7];

Deno.test("pages of all schemes are found, at every level, in both halves", () => {
  for (const { mode, levels } of SCHEMES) {
    for (let level = 0; level < levels; level++) {
      for (const upper of [false, true]) {
        const size = 1n << BigInt(12 + 9 * level);
        const bits = BigInt(12 + 9 * levels);
        const at = (upper ? -(1n << bits - 2n) : 1n << bits - 2n) + 3n * size;
        const guest = new Guest("ld a1, 0(a0)", {
          registers: { mstatus: MPRV | 1n << 11n, a0: at + (level ? 0x8008n : 8n) },
          prepare(rig) {
            let table = TABLES;
            for (let l = levels - 1; l >= level; l--, table += 4096) {
              const slot = table + 8 * Number(BigInt.asUintN(64, at) >> BigInt(12 + 9 * l) & 511n);
              // Superpages of more than 1 MiB are aligned below RAM: they hold it all.
              const base = level ? RAM_BASE - RAM_BASE % Number(size) : DATA;
              rig.poke(slot, l > level ? entry(table + 4096, V) : entry(base, ALL));
            }
            rig.poke(DATA + 8, 77n);
            rig.hart.set("satp", BigInt(mode) << 60n | BigInt(TABLES / 4096));
            if (level > 1) rig.hart.set("a0", 0n);
          },
        });
        if (level > 1) {
          const offset = BigInt(RAM_BASE % Number(size)) + 0x8008n;
          guest.each(({ hart }) => hart.set("a0", at + offset));
        }
        guest.run(1);
        assertEquals([guest.get("a1"), guest.get("mcause")], [77n, 0n], `mode ${mode}, level ${level}, ${upper}`);
      }
    }
  }
});

Deno.test("the upper bits of an address must equal the highest translated one, or a page fault is raised", () => {
  for (const { mode, levels } of SCHEMES) {
    const bits = BigInt(12 + 9 * levels);
    for (const at of [1n << bits - 1n, 1n << bits, HERE | 1n << 63n, -1n ^ 1n << bits - 1n, HERE - (1n << bits)]) {
      for (const kind of ACCESSES) {
        const guest = paged(SOURCE[kind], { scheme: mode });
        guest.each(({ hart }) => hart.set("a0", at & -8n));
        assertEquals(guest.trap(), {
          to: "M",
          cause: FAULT[kind],
          value: BigInt.asUintN(64, at & -8n),
          epc: kind === "fetch" ? BigInt.asUintN(64, at & -8n) : BigInt(RAM_BASE),
        });
      }
    }
  }
});

Deno.test("an entry that is not valid, is writable but not readable, or uses reserved bits is a page fault", () => {
  assertEquals(accesses({ flags: ALL & ~V }), PAGE_FAULTS);
  assertEquals(accesses({ flags: V | W | A | D }), PAGE_FAULTS);
  assertEquals(accesses({ flags: V | W | X | A | D }), PAGE_FAULTS);
  for (let bit = 54n; bit < 64n; bit++) {
    const change = (rig: Rig, _: PageTables, leaf: number) => rig.poke(leaf, entry(DATA, ALL) | 1n << bit);
    assertEquals(access("load", { change }), FAULT.load, `bit ${bit}`);
  }
  assertEquals(accesses({ flags: ALL | 3 << 8 }), [0, 0, 0], "RSW is software's");
});

Deno.test("R, W and X permit loads, stores and fetches; MXR makes executable pages readable", () => {
  const permitted = (flags: number, mstatus = 0n) =>
    accesses({ flags: flags | V | A | D, registers: { mstatus } }).map((cause) => cause === 0);
  assertEquals(permitted(R), [false, true, false]);
  assertEquals(permitted(R | W), [false, true, true]);
  assertEquals(permitted(X), [true, false, false]);
  assertEquals(permitted(R | X), [true, true, false]);
  assertEquals(permitted(R | W | X), [true, true, true]);
  assertEquals(permitted(X, MXR), [true, true, false]);
});

Deno.test("U-mode needs pages with U; S-mode reaches them with SUM, and never executes them", () => {
  const result = (mode: "S" | "U", flags: number, mstatus = 0n) => accesses({ mode, flags, registers: { mstatus } });
  assertEquals(result("U", ALL | U), [0, 0, 0]);
  assertEquals(result("U", ALL), PAGE_FAULTS);
  assertEquals(result("U", ALL, SUM), PAGE_FAULTS);
  assertEquals(result("S", ALL | U), PAGE_FAULTS);
  assertEquals(result("S", ALL | U, SUM), [FAULT.fetch, 0, 0]);
  assertEquals(result("S", ALL | G), [0, 0, 0]);
});

Deno.test("an entry that points to a table must have A, D and U clear, and must not be at the last level", () => {
  for (const bit of [A, D, U]) {
    const change = (rig: Rig, { pointers }: PageTables) => {
      const { at, value } = pointers.at(-1)!; // of the table that holds the page under test
      rig.poke(at, value | BigInt(bit));
    };
    assertEquals(accesses({ change }), PAGE_FAULTS, `bit ${bit}`);
  }
  assertEquals(accesses({ flags: V }), PAGE_FAULTS);
});

Deno.test("a superpage that is not aligned is a page fault", () => {
  assertEquals(accesses({ level: 1, physical: RAM_BASE, at: 0x4000_0000n }), [0, 0, 0]);
  assertEquals(accesses({ level: 1, physical: RAM_BASE + 0x1000, at: 0x4000_0000n }), PAGE_FAULTS);
  assertEquals(accesses({ level: 1, physical: RAM_BASE + 0x10_0000, at: 0x4000_0000n }), PAGE_FAULTS);
  assertEquals(accesses({ level: 2, physical: RAM_BASE + 0x20_0000, at: 0x4000_0000n }), PAGE_FAULTS);
});

Deno.test("without ADUE, a page whose A is clear, or D for a store, is a page fault, and stays so", () => {
  assertEquals(accesses({ flags: ALL & ~A }), PAGE_FAULTS);
  assertEquals(accesses({ flags: ALL & ~D }), [0, 0, FAULT.store]);
});

Deno.test("with ADUE, an access that is permitted sets A, and D for a store; one that is not sets nothing", () => {
  const flags = (kind: Access, before: number) => {
    let leaf = 0;
    const guest = paged(SOURCE[kind], {
      flags: before,
      registers: { menvcfg: ADUE },
      change: (_rig, _tables, at) => leaf = at,
    }).run(kind === "fetch" ? 2 : 1);
    return [Number(guest.get("mcause")), Number(guest.engine.peek(leaf) & 0x3ffn)];
  };
  for (const before of [ALL & ~A & ~D, ALL & ~D, ALL & ~A]) {
    assertEquals(flags("load", before), [0, before | A]);
    assertEquals(flags("fetch", before), [0, before | A]);
    assertEquals(flags("store", before), [0, before | A | D]);
  }
  assertEquals(flags("store", V | R | X), [FAULT.store, V | R | X]);
  assertEquals(flags("fetch", V | R | W), [FAULT.fetch, V | R | W]);
});

Deno.test("a store after a load of the same page still sets D", () => {
  let leaf = 0;
  const guest = paged("ld a1, 0(a0); sd a1, 8(a0)", {
    flags: ALL & ~A & ~D,
    registers: { menvcfg: ADUE },
    change: (_rig, _tables, at) => leaf = at,
  });
  assertEquals(guest.run(1).engine.peek(leaf) & BigInt(A | D), BigInt(A));
  assertEquals(guest.run(1).engine.peek(leaf) & BigInt(A | D), BigInt(A | D));
});

Deno.test("tables that are not RAM, or that PMP denies, are access faults of the original access", () => {
  const point = (to: number) => (rig: Rig, { pointers }: PageTables) => rig.poke(pointers.at(-1)!.at, entry(to, V));
  assertEquals(accesses({ change: point(0) }), ACCESS_FAULTS);
  assertEquals(accesses({ change: point(DEVICE_BASE) }), ACCESS_FAULTS);
  assertEquals(accesses({ change: point(2 ** 55) }), ACCESS_FAULTS);
  const deny = (cfg: bigint) => (rig: Rig, { pointers }: PageTables) => {
    const table = Number(rig.peek(pointers.at(-1)!.at) >> 10n) * 4096;
    rig.hart.set("pmpaddr0", BigInt(table / 4 + 511)); // NAPOT, 4 KiB
    rig.hart.set("pmpcfg0", 0x18n | cfg);
  };
  assertEquals(accesses({ change: deny(4n) }), ACCESS_FAULTS);
  // Read-only tables serve as long as no bit needs to be set.
  assertEquals(accesses({ change: deny(1n), registers: { menvcfg: ADUE } }), [0, 0, 0]);
  assertEquals(accesses({ change: deny(1n), flags: ALL & ~A, registers: { menvcfg: ADUE } }), ACCESS_FAULTS);
});

Deno.test("a page without memory behind it is an access fault with the virtual address", () => {
  assertEquals(accesses({ physical: 0x4000_0000 }), ACCESS_FAULTS);
  assertEquals(access("fetch", { physical: DEVICE_BASE }), ACCESS_FAULT.fetch);
  assertEquals(access("store", { physical: RAM_BASE + 2 ** 18 }), ACCESS_FAULT.store);
});

Deno.test("M-mode is not translated; with MPRV its loads and stores are, as in MPP, and its fetches are not", () => {
  const load = (mpp: bigint, flags: number, more = 0n) => {
    const guest = paged("ld a1, 0(a0); nop", {
      mode: "M",
      flags,
      registers: { mstatus: MPRV | mpp << 11n | more },
      change: (rig) => rig.poke(DATA, 99n),
    }).run(1);
    return guest.get("mcause") ? Number(guest.get("mcause")) : guest.get("a1");
  };
  assertEquals(load(1n, ALL), 99n);
  assertEquals(load(0n, ALL), 13);
  assertEquals(load(0n, ALL | U), 99n);
  assertEquals(load(1n, ALL | U), 13);
  assertEquals(load(1n, ALL | U, SUM), 99n);
  assertEquals(load(1n, V | X | A, MXR), 99n);
  assertEquals(load(3n, ALL), 5, "MPP = M: the address is physical, and nothing is there");
});

Deno.test("PMP holds for M-mode's accesses under MPRV as for those of MPP", () => {
  const load = (mpp: bigint) => {
    const guest = new Guest("ld a1, 0(a0)", { registers: { a0: DATA, mstatus: MPRV | mpp << 11n } });
    guest.each(({ hart }) => {
      hart.set("pmpaddr0", BigInt(DATA / 4 + 511));
      hart.set("pmpcfg0", 0x18n); // nothing allowed, not locked
    });
    guest.each(({ hart }) => hart.set("pc", BigInt(RAM_BASE))).run(1);
    return Number(guest.get("mcause"));
  };
  assertEquals([load(3n), load(1n), load(0n)], [0, 5, 5]);
});

Deno.test("an access or instruction across pages traps with the address of the part that met the fault", () => {
  const across = (source: string, code: number, offset: bigint, next?: number) => {
    const guest = paged(source, {
      change(rig, tables) {
        if (next !== undefined) tables.map(HERE + 4096n, next, ALL);
        rig.program(DATA + 4092, [0x0013_0001, 0xffff_0000]); // c.nop, and the first half of a nop
      },
    });
    guest.each(({ hart }) => hart.set("a0", HERE + offset));
    const { cause, value, epc } = guest.trap();
    assertEquals(cause, code, source);
    return [value - HERE, epc];
  };
  const here = BigInt(RAM_BASE);
  assertEquals(across("ld a1, 0(a0)", 13, 4092n), [4096n, here]);
  assertEquals(across("sd a1, 0(a0)", 15, 4095n), [4096n, here]);
  assertEquals(across("sh a1, 0(a0)", 15, 4095n), [4096n, here]);
  assertEquals(across("lw a1, 0(a0)", 5, 4093n, 0x4000_0000), [4096n, here]);
  assertEquals(across("lw a1, 0(a0)", 13, -1n), [-1n, here]);
  assertEquals(across("jr a0", 12, 4092n), [4096n, HERE + 4094n]);
  assertEquals(across("jr a0", 1, 4092n, 0x4000_0000), [4096n, HERE + 4094n]);
});

Deno.test("an access or instruction across pages goes on behind a multiple of 4 GiB", () => {
  const [at, next] = [0xffff_f000n, 0x1_0000_0000n];
  const guest = paged("ld a1, 0(a0); sd a0, 0(a0); ld a2, 0(a0); addi a0, a0, 2; jr a0", {
    at,
    change(rig, tables) {
      tables.map(next, DATA + 8192, ALL);
      rig.poke(DATA + 4088, 0x0123_4567_89ab_cdefn);
      rig.poke(DATA + 8192, 0x0000_0000_fedc_ba98n);
    },
  });
  guest.each(({ hart }) => hart.set("a0", at + 4092n)).run(3);
  assertEquals([guest.get("a1"), guest.get("a2")], [0xfedc_ba98_0123_4567n, at + 4092n]);
  // Of the halves that were stored, the last of this page and the first of the next one are an instruction.
  guest.each((rig) => {
    rig.poke(DATA + 4088, 0x0013_0000_0000_0000n);
    rig.poke(DATA + 8192, 0xffff_0000n);
  });
  const { cause, epc } = guest.trap();
  assertEquals([cause, epc], [2, next + 2n]);
});

Deno.test("a store across pages that faults on the second one leaves the first as it was", () => {
  const guest = paged("sd a1, 0(a0)", { registers: { a1: -1 } });
  guest.each(({ hart }) => hart.set("a0", HERE + 4092n)).trap();
  assertEquals(guest.engine.peek(DATA + 4088), 0n);
});

// ---------------------------------------------------------------- fences

/** Another superpage, whose address is in a7. */
const NEXT = 0x4020_0000n;

/** Loads, rewrites the page's entry, fences, and loads again: which page is seen? */
function afterFence(fence: string, options: Case & { operand?: bigint; asid?: bigint } = {}): bigint {
  const { at = HERE, level = 0 } = options;
  const guest = paged(`ld a1, 0(a0); sd a2, 0(a3); ${fence}; ld a4, 0(a0)`, {
    ...options,
    level,
    physical: level ? RAM_BASE : DATA,
    change(rig, tables, leaf) {
      tables.map(BigInt(leaf), leaf - leaf % 4096, V | R | W | A | D);
      rig.poke(DATA, 1n);
      rig.poke(DATA + 4096, 2n);
      // A superpage's replacement is read-only: the store below then shows it.
      rig.hart.set("a2", level ? 0n : entry(DATA + 4096, ALL));
      rig.hart.set("a3", BigInt(leaf));
      rig.hart.set("a5", options.operand ?? at);
      rig.hart.set("a6", options.asid ?? 0n);
      tables.map(NEXT, RAM_BASE, ALL, 1);
      rig.hart.set("a7", NEXT);
    },
  });
  guest.each(({ hart }) => hart.set("a0", at + (level ? 0x8000n : 0n))).run(2);
  assertEquals(guest.get("a1"), 1n);
  guest.run(fence.split(";").length + 1);
  return guest.get("mcause") || guest.get("a4");
}

Deno.test("after SFENCE.VMA in its forms, or SINVAL.VMA between fences, a changed entry is seen", () => {
  for (
    const fence of [
      "sfence.vma",
      "sfence.vma a5",
      "sfence.vma a5, a6",
      "sfence.vma zero, a6",
      "sinval.vma a5, a6",
      "sinval.vma zero, zero",
    ]
  ) {
    assertEquals(afterFence(fence), 2n, fence);
    assertEquals(afterFence(fence, { operand: HERE + 4095n }), 2n, `${fence}, any address of the page`);
    assertEquals(afterFence(fence, { flags: ALL | G }), 2n, `${fence}, a global page`);
  }
});

Deno.test("SFENCE.VMA with any address of a superpage forgets all of it", () => {
  for (const operand of [0x4000_0000n, 0x4000_8000n, 0x401f_ffffn]) {
    for (const fence of ["sfence.vma a5", "sfence.vma a5, a6", "ld t0, 0(a7); sfence.vma a7; sfence.vma a5"]) {
      assertEquals(afterFence(fence, { at: 0x4000_0000n, level: 1, operand }), 13n, `${fence} ${operand}`);
    }
  }
});

Deno.test("setting A in a page that holds code makes that code be read anew", () => {
  // The entry is an instruction, too: `flw ft0, 512(zero)` with A clear, `fmsub.s` with A set.
  let leaf = 0;
  const guest = paged("jr a5", {
    flags: V | R | W,
    registers: { menvcfg: ADUE },
    change(rig, tables, at) {
      leaf = at;
      tables.map(0x2000_0000n, leaf - leaf % 4096, V | R | X | A);
      rig.hart.set("a5", 0x2000_0000n + BigInt(leaf % 4096));
    },
  });
  const here = 0x2000_0000n + BigInt(leaf % 4096);
  assertEquals(guest.trap(), { to: "M", cause: 13, value: 512n, epc: here });
  guest.load("ld a1, 0(a0); jr a5", "S");
  assertEquals(guest.trap(), { to: "M", cause: 2, value: 0n, epc: here + 4n });
});

Deno.test("compiled code that sets A in a page that holds code takes the same steps", () => {
  const guest = paged("jr a5", {
    config: { threshold: 1, optimize: 2 },
    registers: { menvcfg: ADUE },
    change(rig, tables, leaf) {
      for (let i = 0n; i < 16n; i++) tables.map(HERE + i * 4096n, DATA, i < 12n ? ALL : V | R | W);
      tables.map(0x2000_0000n, leaf - leaf % 4096, V | R | X | A);
      rig.hart.set("a5", 0x2000_0000n + BigInt(leaf % 4096));
      rig.hart.set("a2", 4096n);
    },
  });
  guest.trap(); // the tables are code now
  guest.load("loop: ld a1, 0(a0); add a0, a0, a2; j loop", "S");
  for (let i = 0; i < 8; i++) guest.run(3);
  assert(guest.engine.engine.stats!().regions > 0);
  guest.run(18);
  assertEquals(guest.get("a0"), HERE + 14n * 4096n);
});
