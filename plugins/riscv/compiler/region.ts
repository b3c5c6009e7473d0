// Regions: the control-flow graph of hot code within one page, as far as it has been reached before.

import { BRANCH, type Decoded, type InstructionTable } from "../encoding.ts";
import { CSR } from "../csrs.ts";
import { PAGE_BYTES } from "../layout.ts";
import { isQuickCsr } from "../wasm_system.ts";

/** Instructions of a region, at the most. */
const MAX_INSTRUCTIONS = 400;

/** A jump table's targets, at the most, and how far from the region's head they may be. */
export const MAX_TARGETS = 128;
const SWITCH_REACH = 1536;

/** How a block ends. Targets are offsets in the page; one outside of the region leaves it. */
export type BlockEnd =
  /** A conditional branch: `taken` by its condition, else `next`. */
  | { readonly kind: "branch"; readonly taken: number; readonly next: number }
  /** To `next`, by a jump or by falling through. */
  | { readonly kind: "goto"; readonly next: number }
  /** A call, to `target` or else to wherever the last instruction goes; the callee returns to `next`. */
  | { readonly kind: "call"; readonly next: number; readonly target?: number }
  /** To an address that the last instruction computes. */
  | { readonly kind: "indirect" }
  /** The same by a jump table, perhaps: to one of these, most likely. */
  | { readonly kind: "switch"; readonly targets: readonly number[] };

/** Instructions that are always executed together. */
export interface Block {
  /** Of the first instruction, in the page. */
  readonly offset: number;
  readonly instructions: readonly Decoded[];
  readonly end: BlockEnd;
}

/** The offsets where control may go on in the page. */
export function successors(end: BlockEnd | undefined): readonly number[] {
  switch (end?.kind) {
    case "branch":
      return [end.taken, end.next];
    case "goto":
    case "call":
      return [end.next];
    case "switch":
      return end.targets;
  }
  return [];
}

/** Blocks by offset; the first one inserted is the head. */
export type Region = ReadonlyMap<number, Block>;

/** Registers that hold return addresses: ra and t0 (unprivileged specification, table 3). */
const LINK = [1, 5];
/** What only the interpreter carries out, besides most CSRs. */
const INTERPRETED = /^(ebreak|mret|wfi|pause|sfence|sinval)/;
const CSR_ACCESS = /^csr/;
/** What goes to another mode. */
const SWITCH = /^(ecall|sret)$/;

/** Whether a CSR is fflags, frm or fcsr. */
export function isFloatCsr(csr: number): boolean {
  return csr >= CSR.fflags && csr <= CSR.fcsr;
}

/** A page's bytes, and the instruction that goes on behind them. */
interface PageCode {
  readonly code: DataView;
  readonly crossing: number | undefined;
}

/** Instructions of one page, decoded on demand. */
export class PageReader {
  readonly #interpreted: boolean[];
  readonly #csr: boolean[];
  readonly #switch: boolean[];
  readonly #branch: boolean[];
  readonly #jal: number;
  readonly #jalr: number;

  constructor(readonly table: InstructionTable) {
    this.#interpreted = table.rows.map((row) => INTERPRETED.test(row.name));
    this.#csr = table.rows.map((row) => CSR_ACCESS.test(row.name));
    this.#switch = table.rows.map((row) => SWITCH.test(row.name));
    this.#branch = table.rows.map((row) => BRANCH.test(row.name));
    this.#jal = table.indexOf("jal");
    this.#jalr = table.indexOf("jalr");
  }

  /**
   * The region that starts at `head`: what direct jumps and branches reach within the page, as far as `reached`
   * says that it ran before; where it jumps by a table, also what is near of the page's `targets` of such jumps. The
   * last instruction of the page may go on in the next one: `crossing`. Empty if the first instruction is not for a
   * compiler.
   */
  region(
    code: DataView,
    head: number,
    reached: (offset: number) => boolean,
    targets: Iterable<number> = [],
    crossing?: number,
  ): Region {
    const distance = (offset: number) => Math.abs(offset - head);
    const near = [...targets].filter((offset) => distance(offset) <= SWITCH_REACH)
      .sort((a, b) => distance(a) - distance(b)).slice(0, MAX_TARGETS);
    const { decoded, ends } = this.#flood({ code, crossing }, head, reached, near);
    const leaders = new Set([head]);
    for (const end of ends.values()) successors(end).forEach((next) => leaders.add(next));
    const region = new Map<number, Block>();
    for (const leader of [head, ...[...leaders].sort((a, b) => a - b)]) {
      if (!decoded.has(leader) || region.has(leader)) continue;
      const instructions: Decoded[] = [];
      let offset = leader;
      let end: BlockEnd | undefined;
      do {
        const instruction: Decoded = decoded.get(offset)!;
        instructions.push(instruction);
        end = ends.get(offset);
        offset += instruction.length;
      } while (!end && decoded.has(offset) && !leaders.has(offset));
      region.set(leader, { offset: leader, instructions, end: end ?? { kind: "goto", next: offset } });
    }
    return region;
  }

  /** Decodes what is reached from the head, and how blocks end there: by offset. */
  #flood(
    page: PageCode,
    head: number,
    reached: (offset: number) => boolean,
    near: readonly number[],
  ): { decoded: Map<number, Decoded>; ends: Map<number, BlockEnd> } {
    const decoded = new Map<number, Decoded>();
    const ends = new Map<number, BlockEnd>();
    const work = [head];
    for (let start = work.shift(); start !== undefined; start = work.shift()) {
      let offset = start;
      while (offset >= 0 && offset < PAGE_BYTES && !decoded.has(offset) && reached(offset)) {
        if (decoded.size === MAX_INSTRUCTIONS) return { decoded, ends };
        const instruction = this.#decode(page, offset);
        if (!instruction || this.#isInterpreted(instruction)) break;
        decoded.set(offset, instruction);
        const end = this.#end(instruction, offset, near);
        if (end) ends.set(offset, end);
        offset += instruction.length;
        if (end?.kind === "branch") work.push(end.taken);
        else if (end && end.kind !== "call") {
          work.push(...successors(end));
          break;
        }
      }
    }
    return { decoded, ends };
  }

  #decode({ code, crossing }: PageCode, offset: number): Decoded | undefined {
    const half = code.getUint16(offset, true);
    if ((half & 3) !== 3) return this.table.decode(half);
    if (offset + 4 <= PAGE_BYTES) return this.table.decode(code.getInt32(offset, true));
    return crossing === undefined ? undefined : this.table.decode(crossing);
  }

  #isInterpreted({ index, fields }: Decoded): boolean {
    return this.#interpreted[index] || this.#csr[index] && !isFloatCsr(fields.csr) && !isQuickCsr(fields.csr);
  }

  /** How control goes on, for an instruction that may send it elsewhere. */
  #end({ index, fields, length }: Decoded, offset: number, near: readonly number[]): BlockEnd | undefined {
    if (this.#branch[index]) return { kind: "branch", taken: offset + fields.imm, next: offset + length };
    const isCall = LINK.includes(fields.rd);
    if (index === this.#jal) {
      const target = offset + fields.imm;
      return isCall ? { kind: "call", next: offset + length, target } : { kind: "goto", next: target };
    }
    if (index === this.#jalr) {
      if (isCall) return { kind: "call", next: offset + length };
      return LINK.includes(fields.rs1) ? { kind: "indirect" } : { kind: "switch", targets: near };
    }
    return this.#switch[index] ? { kind: "indirect" } : undefined;
  }
}
