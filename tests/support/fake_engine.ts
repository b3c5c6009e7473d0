// An engine that runs nothing and remembers all: RAM and harts for tests of boards.

import type { Address, BootFile, Bytes, Engine, Hart, HartEntry, Plain, Ram } from "../../core/plugin.ts";

/** A hart made of a table of registers. */
export class FakeHart implements Hart {
  readonly registers = new Map<string, bigint>();
  /** How it was started last. */
  entry?: HartEntry;
  stopped = true;
  flushes = 0;
  readonly interrupts = new Set<number>();

  get(register: string): bigint {
    return this.registers.get(register) ?? 0n;
  }

  set(register: string, value: bigint): void {
    this.registers.set(register, value);
  }

  start(entry: HartEntry): void {
    if (!this.stopped) throw new Error("it runs already");
    this.entry = entry;
    this.stopped = false;
    for (const [name, value] of Object.entries(entry.registers ?? {})) this.set(name, value);
  }

  stop(): void {
    this.stopped = true;
  }

  setInterrupt(line: number, level: boolean): void {
    if (level) this.interrupts.add(line);
    else this.interrupts.delete(line);
  }

  flushTranslations(): void {
    this.flushes++;
  }
}

/** RAM, from 0x80000000 on unless told otherwise, and stopped harts. */
export class FakeEngine implements Engine {
  readonly ram: Ram;
  readonly harts: readonly FakeHart[];
  readonly retired = 0;
  readonly description: Record<string, Plain> = { isa: "rv64imafdc_zicsr_zifencei_sstc", mmu: "riscv,sv57" };
  /** What `htif` was given. */
  watched?: { tohost: Address; fromhost?: Address };

  constructor(ramSize: number, harts = 1, base: Address = 0x8000_0000) {
    this.ram = { buffer: new ArrayBuffer(ramSize), offset: 0, base, size: ramSize };
    this.harts = Array.from({ length: harts }, () => new FakeHart());
  }

  /** A view of RAM; throws a `RangeError` outside of it. */
  bytes(at: Address, length: number): Uint8Array<ArrayBufferLike> {
    if (at < this.ram.base) throw new RangeError("below RAM");
    return new Uint8Array(this.ram.buffer, at - this.ram.base, length);
  }

  /** What a board loads, at once. */
  write(at: Address, content: Bytes | BootFile): void {
    const bytes = content instanceof Uint8Array ? content : content.slice(0, content.length);
    this.bytes(at, bytes.length).set(bytes);
  }

  htif(tohost: Address, fromhost?: Address): void {
    this.watched = { tohost, fromhost };
  }

  run(): { readonly reason: "idle" } {
    return { reason: "idle" };
  }
  kick(): void {}
  invalidate(): void {}
  collectDirty(): number[] {
    return [];
  }
  reset(): void {
    for (const hart of this.harts) hart.stop();
  }
  save(): Plain {
    return null;
  }
  load(): void {}
  dispose(): void {}
}
