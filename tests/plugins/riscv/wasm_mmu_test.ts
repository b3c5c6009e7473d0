// The page walker of generated code, held to the one in TypeScript over random page tables.

import { assert, assertEquals } from "@std/assert";
import { ACCESS, MODE, STATUS } from "../../../plugins/riscv/cause.ts";
import { PAGE_FLAG } from "../../../plugins/riscv/code.ts";
import { RiscvHart } from "../../../plugins/riscv/hart.ts";
import { FETCH_TLB, PAGE_BYTES, SLOT, TLB } from "../../../plugins/riscv/layout.ts";
import { EngineMemory } from "../../../plugins/riscv/memory.ts";
import { addMmu } from "../../../plugins/riscv/wasm_mmu.ts";
import { ModuleBuilder } from "../../../plugins/riscv/wasm/module.ts";
import { TYPE } from "../../../plugins/riscv/wasm/types.ts";
import { PTE } from "../../support/riscv_pages.ts";
import { RAM_BASE } from "../../support/riscv_rig.ts";
import { Operands } from "./fp_operands.ts";

const RAM_SIZE = 2 ** 22;
const TABLES = 24;
const TABLE_BASE = RAM_BASE + 2 ** 21;
/** Entries of a table that are made, and led to. */
const INDICES = [0, 1, 2, 255, 256, 510, 511];

/** Two harts over one RAM: the first is translated for by TypeScript, the second by generated code. */
class Walkers {
  readonly memory = new EngineMemory(RAM_BASE, RAM_SIZE, 2, 0, false);
  readonly code = new Int32Array(this.memory.wasm.buffer, this.memory.pageCodeOffset, RAM_SIZE / PAGE_BYTES);
  readonly flags = new Uint8Array(this.memory.wasm.buffer, this.memory.pageFlagsOffset, RAM_SIZE / PAGE_BYTES);
  readonly harts: readonly [RiscvHart, RiscvHart];
  readonly generated:
    & Record<"translateLoad" | "translateStore", (hart: number, at: bigint, size: number) => [bigint, number]>
    & {
      fetchCode(hart: number, pc: bigint): number;
    };
  refills = 0;

  constructor() {
    const page = (host: number) => Math.floor((host - this.memory.ramOffset) / PAGE_BYTES);
    const watch = {
      isWatched: (host: number) => this.code[page(host)] !== 0 || (this.flags[page(host)] & PAGE_FLAG.pinned) !== 0,
      written: (host: number) => void (this.flags[page(host)] |= PAGE_FLAG.dirty),
      invalidate() {},
    };
    const alarm = { at() {}, cancel() {} };
    const hart = (index: number) =>
      new RiscvHart(
        index,
        this.memory,
        { ticks: () => 0, alarm, deadline: () => undefined, pageTableLevels: 5 },
        watch,
      );
    this.harts = [hart(0), hart(1)];
    const { pages, shared } = this.memory;
    const module = new ModuleBuilder({ pages, shared });
    const refill = module.import("refill", Array(5).fill(TYPE.i32), [TYPE.i32]);
    for (const [name, callee] of Object.entries(addMmu(module, refill, { ram: this.memory, only: undefined }))) {
      module.export(name, callee);
    }
    const count = () => (this.refills++, 0);
    const env = { memory: this.memory.wasm, refill: count };
    this.generated = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), { env }).exports as never;
  }

  /** The bytes of an entry of a hart's table. */
  entry(hart: RiscvHart, low: number, table: typeof TLB | typeof FETCH_TLB): Uint8Array {
    const at = hart.base + (table === TLB ? SLOT.tlb : SLOT.fetchTlb) +
      ((low >>> 12 ^ low >>> 23) & 2047) * table.bytes;
    return this.memory.u8.slice(at, at + table.bytes);
  }

  superpages(hart: RiscvHart): Uint8Array {
    return this.memory.u8.slice(hart.base + SLOT.superpages, hart.base + SLOT.tlb);
  }
}

/** The host address that a translation stands for, or 0. */
function hostOf(address: bigint, [page, addend]: [bigint, number]): number {
  if (page === -1n) return 0;
  assertEquals(page, address & -4096n);
  return Number(BigInt.asUintN(32, address) + BigInt(addend)) >>> 0;
}

Deno.test("generated code walks page tables as TypeScript does, and leaves the same TLB", () => {
  const walkers = new Walkers();
  const { memory, harts, generated, code, flags } = walkers;
  const random = new Operands(3);
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)];
  const { V, R, W, X, U, G, A, D } = PTE;
  let user = 0;
  const entry = (): bigint => {
    const odd = random.below(80) === 0 ? 1n << BigInt(random.below(64)) : 0n;
    if (random.below(3)) {
      return BigInt(TABLE_BASE / PAGE_BYTES + random.below(TABLES)) << 10n | BigInt(V) | odd;
    }
    const usual = V | R | W | X | A | D | (random.below(4) ? user : U) | pick([0, G]);
    const some = usual & ~pick([0, 0, W, W | D, X, D, A, A | D, R | W, V, R, U]);
    const where = pick([...Array(9).fill(RAM_BASE), RAM_BASE + 2 ** 21, 0, 2 ** 40, RAM_BASE + RAM_SIZE]);
    const page = pick([0, 0, 0, random.below(512)]);
    return BigInt(where / PAGE_BYTES + page) << 10n | BigInt(some) | odd;
  };
  let [found, byLevel] = [0, new Set<number>()];
  for (let round = 0; round < 300; round++) {
    const [mode, status] = [pick([MODE.U, MODE.S, MODE.S]), pick([0, STATUS.SUM, STATUS.SUM, STATUS.MXR])];
    user = mode === MODE.U ? U : 0;
    for (let table = 0; table < TABLES; table++) {
      for (const index of INDICES) {
        memory.view.setBigUint64(memory.host(TABLE_BASE + table * PAGE_BYTES + index * 8, 8), entry(), true);
      }
    }
    code.forEach((_, i) => code[i] = random.below(8) ? 0 : 4 + i);
    flags.forEach((_, i) => flags[i] = random.below(8) ? 0 : PAGE_FLAG.pinned);
    const scheme = random.below(3);
    const satp = BigInt(8 + scheme) << 60n | BigInt(TABLE_BASE / PAGE_BYTES + random.below(TABLES));
    for (const hart of harts) {
      hart.pmp.writeCfg(0, 0x1f);
      hart.pmp.writeAddress(0, -1n);
      hart.mmu.satp = satp;
      hart.mode = mode;
      hart.status = status;
      hart.protectionChanged();
    }
    for (let access = 0; access < 200; access++) {
      const kind = pick([ACCESS.fetch, ACCESS.load, ACCESS.load, ACCESS.store]);
      let address = 0n;
      for (let level = 0; level < 5; level++) address = address << 9n | BigInt(pick(INDICES));
      address = BigInt.asIntN(random.below(20) ? 39 + 9 * scheme : 64, address << 12n | BigInt(random.below(512) * 8));
      const [low, high] = [Number(BigInt.asIntN(32, address)), Number(BigInt.asIntN(32, address >> 32n))];
      const [reference, tested] = harts;
      const before = flags.slice();

      const fault = reference.mmu.translate(low, high, 8, kind, reference.dataRegime);
      const host = fault < 0 ? memory.host(reference.mmu.physical, 8) : -1;
      const page = Math.floor((host - memory.ramOffset) / PAGE_BYTES);
      // Only MXR permits such a load: TypeScript's, too.
      const byMxr = kind === ACCESS.load && (status & STATUS.MXR) !== 0;
      let expected = 0;
      if (host >= 0 && kind === ACCESS.fetch) {
        expected = code[page];
        const context = memory.i32[reference.base + SLOT.fetchContext >> 2];
        if (expected) reference.mmu.rememberFetch(low, high, context, expected);
      } else if (host >= 0 && reference.mmu.remember(low, high, kind, reference.dataRegime)) {
        expected = host;
      }
      const written = flags.slice();
      flags.set(before);
      const got = kind === ACCESS.fetch ? generated.fetchCode(tested.base, address) : hostOf(
        address,
        generated[kind === ACCESS.load ? "translateLoad" : "translateStore"](tested.base, address, 8),
      );
      const what = `round ${round}, access ${access}: kind ${kind} at ${address.toString(16)}`;
      if (byMxr && got === 0) {
        tested.flushTranslations();
        reference.flushTranslations();
        continue;
      }
      assertEquals(got, expected, what);
      assertEquals(flags, written, what);
      if (!expected && host < 0) {
        // A device's page, perhaps, which only TypeScript remembers.
        tested.flushTranslations();
        reference.flushTranslations();
        continue;
      }
      const table = kind === ACCESS.fetch ? FETCH_TLB : TLB;
      if (expected || table === TLB) {
        assertEquals(walkers.entry(tested, low, table), walkers.entry(reference, low, table), what);
      }
      if (!expected) continue;
      found++;
      byLevel.add(
        memory.i32[reference.base + SLOT.tlb + ((low >>> 12 ^ low >>> 23) & 2047) * TLB.bytes + TLB.level >> 2],
      );
    }
    if (round % 10 === 0) assertEquals(walkers.superpages(harts[1]), walkers.superpages(harts[0]));
  }
  assertEquals(walkers.refills, 0);
  assert(found > 3000 && byLevel.size > 2, `too little was found: ${found} at levels ${[...byLevel]}`);
});
