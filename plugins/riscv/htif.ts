// The host-target interface of RISC-V test programs: the tohost and fromhost words (riscv-isa-sim, fesvr/htif).

import type { Bytes, Exit, Plain } from "../../core/plugin.ts";
import type { EngineMemory } from "./memory.ts";

const DEVICE = { syscall: 0, console: 1 } as const;

/** Serves the stores to `tohost`: exit codes and console output. */
export class Htif {
  /** The program's end, once it came. */
  exit?: Exit;

  constructor(
    readonly memory: EngineMemory,
    readonly tohost: number,
    readonly fromhost: number | undefined,
    readonly console: (bytes: Bytes) => void,
  ) {}

  /** Something was stored to `tohost`: a device in bits 63:56, a command in 55:48, the payload below. */
  stored(): void {
    const value = this.#load(this.tohost);
    if (value === 0n) return;
    const device = Number(value >> 56n & 0xffn);
    const payload = value & 0xffff_ffff_ffffn;
    if (device === DEVICE.console) {
      this.console(Uint8Array.of(Number(payload & 0xffn)));
      this.#acknowledge();
    } else if (device === DEVICE.syscall && payload & 1n) {
      this.exit = { reason: "off", code: Number(payload >> 1n) };
    } else if (device === DEVICE.syscall) {
      this.#systemCall(Number(payload));
    }
  }

  save(): Plain {
    return { tohost: this.tohost, fromhost: this.fromhost };
  }

  /** The proxied system calls of the test programs: `write` and `exit`, their arguments in memory at `at`. */
  #systemCall(at: number): void {
    if (this.memory.host(at, 32) < 0) return this.#acknowledge();
    const [number, first, address, length] = [0, 8, 16, 24].map((offset) => Number(this.#load(at + offset)));
    const SYS = { write: 64, exit: 93 } as const;
    if (number === SYS.exit) {
      this.exit = { reason: "off", code: first & 0xff };
      return;
    }
    const host = this.memory.host(address, length);
    if (number === SYS.write && host >= 0) {
      this.console(this.memory.u8.slice(host, host + length));
      this.#store(at, BigInt(length));
    } else {
      this.#store(at, -1n);
    }
    this.#acknowledge();
  }

  #acknowledge(): void {
    this.#store(this.tohost, 0n);
    if (this.fromhost !== undefined) this.#store(this.fromhost, 1n);
  }

  #load(at: number): bigint {
    return this.memory.view.getBigUint64(this.memory.host(at, 8), true);
  }

  #store(at: number, value: bigint): void {
    const host = this.memory.host(at, 8);
    if (host >= 0) this.memory.view.setBigInt64(host, value, true);
  }
}
