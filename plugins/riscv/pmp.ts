// Physical memory protection, 16 entries (privileged specification 20240411, section 3.7).

import { ACCESS, type Access, MODE, type Mode } from "./cause.ts";

export const PMP_ENTRIES = 16;

const CFG = { R: 1, W: 2, X: 4, A: 3 << 3, L: 1 << 7 } as const;
const MATCH = { off: 0, tor: 1, na4: 2, napot: 3 } as const;
const PERMISSION = { [ACCESS.fetch]: CFG.X, [ACCESS.load]: CFG.R, [ACCESS.store]: CFG.W } as const;

/** What PMP says of a range: all of it allowed, all of it denied, or it must be asked for in smaller pieces. */
export type Verdict = "allow" | "deny" | "split";

/** The PMP unit of one hart. Addresses are numbers: what lies above 2^53 matches no real access. */
export class Pmp {
  /** pmpcfg bytes and pmpaddr registers (address bits 55:2); core saves them as part of the hart. */
  readonly cfg: Uint8Array = new Uint8Array(PMP_ENTRIES);
  readonly address: BigUint64Array = new BigUint64Array(PMP_ENTRIES);
  #open = false;
  #regions: { low: number; high: number; cfg: number }[] = [];

  /** Whether the first entry allows everything to everyone, as firmware often sets it up. */
  get open(): boolean {
    return this.#open;
  }

  /** Takes in what was written to `cfg` and `address`. */
  update(): void {
    this.#regions = [];
    for (let i = 0; i < PMP_ENTRIES; i++) {
      const cfg = this.cfg[i];
      const match = (cfg & CFG.A) >> 3;
      if (match === MATCH.off) continue;
      const address = this.address[i];
      let low = Number(address) * 4;
      let high = low + 4;
      if (match === MATCH.tor) {
        high = low;
        low = i ? Number(this.address[i - 1]) * 4 : 0;
      } else if (match === MATCH.napot) {
        const block = address ^ (address + 1n); // the trailing ones, and the zero above them
        low = Number(address & ~block) * 4;
        high = low + (Number(block) + 1) * 4;
      }
      if (high > low) this.#regions.push({ low, high, cfg });
    }
    const all = CFG.R | CFG.W | CFG.X;
    const first = this.#regions[0];
    this.#open = first?.low === 0 && first.high >= 2 ** 56 && (first.cfg & all) === all;
  }

  /** Writes a configuration byte; a locked one stays. W without R is reserved and reads back as neither. */
  writeCfg(index: number, value: number): void {
    if (this.cfg[index] & CFG.L) return;
    value &= ~0x60;
    if (!(value & CFG.R)) value &= ~CFG.W;
    this.cfg[index] = value;
  }

  /** Writes an address register, unless its entry, or the range that ends with the next one, is locked. */
  writeAddress(index: number, value: bigint): void {
    if (this.cfg[index] & CFG.L) return;
    const next = this.cfg[index + 1] ?? 0;
    if (next & CFG.L && (next & CFG.A) >> 3 === MATCH.tor) return;
    this.address[index] = value & 0x3f_ffff_ffff_ffffn;
  }

  /** Judges an access to `length` bytes from `at`. */
  check(at: number, length: number, access: Access, mode: Mode): Verdict {
    if (this.#open) return "allow";
    for (const { low, high, cfg } of this.#regions) {
      if (at >= high || at + length <= low) continue;
      if (at < low || at + length > high) return "split";
      if (mode === MODE.M && !(cfg & CFG.L)) return "allow";
      return cfg & PERMISSION[access] ? "allow" : "deny";
    }
    return mode === MODE.M ? "allow" : "deny";
  }

  reset(): void {
    this.cfg.fill(0);
    this.address.fill(0n);
    this.update();
  }
}
