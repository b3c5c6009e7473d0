// The engine's one linear memory and the views on it.

import { askForHugePages } from "../host/huge_pages.ts";
import { CODE, COUNTERS, hartBase, PAGE_BYTES } from "./layout.ts";

const WASM_PAGE = 65536;

/** Linear memory: hart blocks, then the predecoded pages, then guest RAM. Made once, never grown. */
export class EngineMemory {
  readonly wasm: WebAssembly.Memory;
  readonly pages: number;
  readonly i32: Int32Array;
  readonly i64: BigInt64Array;
  readonly f64: Float64Array;
  readonly u8: Uint8Array;
  readonly view: DataView;
  /** Where the counters of entries, and the entries that compiled regions replaced, start. */
  readonly countersOffset: number;
  readonly originalsOffset: number;
  /** How many more entries and turns of loops each region is good for before it is optimized (i32 each). */
  readonly turnsOffset: number;
  /** For each page of RAM: the address of its predecoded page or 0 (i32), and its flags (a byte). See code.ts. */
  readonly pageCodeOffset: number;
  readonly pageFlagsOffset: number;
  /** Where the predecoded pages start. */
  readonly codeOffset: number;
  /** Where guest RAM starts. */
  readonly ramOffset: number;

  constructor(
    readonly ramBase: number,
    readonly ramSize: number,
    harts: number,
    codeBytes: number,
    readonly shared: boolean,
    regions = 0,
  ) {
    const align = (n: number) => Math.ceil(n / WASM_PAGE) * WASM_PAGE;
    this.countersOffset = hartBase(harts);
    this.originalsOffset = this.countersOffset + COUNTERS.bytes;
    this.turnsOffset = this.originalsOffset + regions * CODE.entryBytes;
    this.pageCodeOffset = this.turnsOffset + regions * 4;
    this.pageFlagsOffset = this.pageCodeOffset + ramSize / PAGE_BYTES * 4;
    this.codeOffset = align(this.pageFlagsOffset + ramSize / PAGE_BYTES);
    this.ramOffset = align(this.codeOffset + codeBytes);
    this.pages = align(this.ramOffset + ramSize) / WASM_PAGE;
    if (this.pages > WASM_PAGE) {
      const most = Math.floor((WASM_PAGE * WASM_PAGE - this.ramOffset) / 2 ** 20);
      throw new RangeError(`Cannot create guest RAM of ${ramSize} bytes: wanted at most ${most}M`);
    }
    try {
      this.wasm = new WebAssembly.Memory({ initial: this.pages, maximum: this.pages, shared });
    } catch (error) {
      throw new RangeError(`Cannot create guest RAM of ${ramSize} bytes: the host has no room (${error})`);
    }
    const buffer = this.wasm.buffer;
    askForHugePages(buffer, 0, this.ramOffset + ramSize, ramSize);
    this.i32 = new Int32Array(buffer);
    this.i64 = new BigInt64Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }

  /** The host address of `length` bytes of RAM at guest-physical `at`, or -1 if they are not all RAM. */
  host(at: number, length: number): number {
    const offset = at - this.ramBase;
    return offset >= 0 && offset + length <= this.ramSize ? this.ramOffset + offset : -1;
  }
}
