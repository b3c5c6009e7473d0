// The supervisor's firmware: RISC-V Supervisor Binary Interface 2.0, chapters 3 to 10 and 12.

import type { Address, Bytes, Firmware, FirmwareContext, Hart } from "../../core/plugin.ts";
import type { Extent } from "../boards/program.ts";

/** Standard error codes (chapter 3). */
const ERR = {
  NOT_SUPPORTED: -2n,
  INVALID_PARAM: -3n,
  INVALID_ADDRESS: -5n,
  ALREADY_AVAILABLE: -6n,
} as const;

const SPEC_VERSION = 2n << 24n;
/** Not one of the registered implementations: "deno" in ASCII. */
const IMPLEMENTATION_ID = 0x64656e6fn;
const IMPLEMENTATION_VERSION = 1n;

const SSIP = 1;
const HSM_STATE = { STARTED: 0n, STOPPED: 1n } as const;
const SUSPEND = { RETENTIVE: 0n, NON_RETENTIVE: 0x80000000n } as const;
const RESET = { SHUTDOWN: 0n, COLD_REBOOT: 1n, WARM_REBOOT: 2n } as const;
const RESET_REASON = { NONE: 0n, SYSTEM_FAILURE: 1n } as const;
/** The exit code of a guest that shuts down because it failed. */
const FAILURE_EXIT_CODE = 1;
/** Most bytes one console call moves; a guest calls again for the rest. */
const CONSOLE_CHUNK = 4096n;
const ALL_HARTS = (1n << 64n) - 1n;

/** What a call answers: the error (0: success) and the value. */
interface Answer {
  readonly error?: bigint;
  readonly value?: bigint;
}

/** A call's argument by its number, as unsigned 64 bits. */
type Arguments = (n: number) => bigint;
type Call = (hart: number, argument: Arguments) => Answer;

/**
 * Enters supervisor mode as a boot loader does: no translation, no interrupts, the counters readable from user mode,
 * which Linux's vDSO needs for `time`.
 */
export function startSupervisor(hart: Hart, id: number, entry: Address, opaque: bigint): void {
  const registers = { a0: BigInt(id), a1: opaque, satp: 0n, sie: 0n, scounteren: 7n };
  hart.start({ pc: BigInt(entry), mode: "S", registers });
}

/** The SBI of one machine. It keeps no state of its own: timers, interrupts and run states are the harts'. */
export class Sbi implements Firmware {
  readonly #context: FirmwareContext;
  readonly #ram: Extent;
  /** Functions by extension, then by function number. */
  readonly #extensions: ReadonlyMap<bigint, readonly Call[]>;
  /** The calls of SBI 0.1, which answer in `a0` alone. */
  readonly #legacy: ReadonlyMap<bigint, (hart: number, argument: Arguments) => bigint>;

  constructor(context: FirmwareContext, ram: Extent) {
    this.#context = context;
    this.#ram = ram;
    this.#extensions = new Map([
      [0x10n, this.#base()],
      [0x54494d45n, [(hart, argument) => this.#setTimer(hart, argument(0))]], // TIME
      [0x735049n, [(_, argument) => this.#sendIpi(argument)]], // sPI
      [0x52464e43n, Array<Call>(3).fill((_, argument) => this.#fence(argument))], // RFNC
      [0x48534dn, this.#hartStates()], // HSM
      [0x53525354n, [(_, argument) => this.#systemReset(argument(0), argument(1))]], // SRST
      [0x4442434en, this.#console()], // DBCN
    ]);
    this.#legacy = new Map([
      [0n, (hart: number, argument: Arguments) => this.#setTimer(hart, argument(0)).error ?? 0n],
      [1n, (_: number, argument: Arguments) => this.#putByte(argument(0)).error ?? 0n],
      [2n, () => -1n],
      [8n, () => this.#systemReset(RESET.SHUTDOWN, RESET_REASON.NONE).error ?? 0n],
    ]);
  }

  call(hart: number): void {
    const registers = this.#harts[hart];
    const argument = (n: number): bigint => BigInt.asUintN(64, registers.get(`a${n}`));
    const extension = argument(7);
    const legacy = this.#legacy.get(extension);
    if (legacy) return registers.set("a0", BigInt.asUintN(64, legacy(hart, argument)));
    const functions = this.#extensions.get(extension);
    const id = argument(6);
    const call = functions && id < functions.length ? functions[Number(id)] : undefined;
    const { error = 0n, value = 0n } = call ? call(hart, argument) : { error: ERR.NOT_SUPPORTED };
    registers.set("a0", BigInt.asUintN(64, error));
    registers.set("a1", value);
  }

  get #harts(): readonly Hart[] {
    return this.#context.harts();
  }

  #base(): Call[] {
    const csr = (name: string): Call => (hart) => ({ value: this.#harts[hart].get(name) });
    return [
      () => ({ value: SPEC_VERSION }),
      () => ({ value: IMPLEMENTATION_ID }),
      () => ({ value: IMPLEMENTATION_VERSION }),
      (_, argument) => ({ value: this.#extensions.has(argument(0)) || this.#legacy.has(argument(0)) ? 1n : 0n }),
      csr("mvendorid"),
      csr("marchid"),
      csr("mimpid"),
    ];
  }

  /** The harts' own supervisor timer (Sstc) does the work: setting it later also takes back the interrupt. */
  #setTimer(hart: number, time: bigint): Answer {
    this.#harts[hart].set("stimecmp", time);
    return {};
  }

  /** The harts that a mask (arguments 0 and 1) names, or undefined if one of them does not exist. */
  #masked(argument: Arguments): Hart[] | undefined {
    const harts = this.#harts;
    const mask = argument(0);
    const base = argument(1);
    if (base === ALL_HARTS) return [...harts];
    if (base >= BigInt(harts.length) || mask >> (BigInt(harts.length) - base)) return undefined;
    return harts.filter((_, id) => BigInt(id) >= base && mask >> (BigInt(id) - base) & 1n);
  }

  #sendIpi(argument: Arguments): Answer {
    const harts = this.#masked(argument);
    if (!harts) return { error: ERR.INVALID_PARAM };
    for (const hart of harts) if (!hart.stopped) hart.setInterrupt(SSIP, true);
    return {};
  }

  /** One answer to every remote fence, whatever its range: forget all translations, those of fetches included. */
  #fence(argument: Arguments): Answer {
    const harts = this.#masked(argument);
    if (!harts) return { error: ERR.INVALID_PARAM };
    for (const hart of harts) hart.flushTranslations();
    return {};
  }

  #hartStates(): Call[] {
    return [
      (_, argument) => this.#startHart(argument(0), argument(1), argument(2)),
      (hart) => {
        this.#harts[hart].stop();
        return {};
      },
      (_, argument) => {
        const hart = this.#harts[Number(argument(0))];
        return hart ? { value: hart.stopped ? HSM_STATE.STOPPED : HSM_STATE.STARTED } : { error: ERR.INVALID_PARAM };
      },
      (_, argument) => {
        // A retentive suspend may end at any time; the guest's idle loop waits by WFI, so this one ends at once.
        const type = BigInt.asUintN(32, argument(0));
        if (type === SUSPEND.RETENTIVE) return {};
        return { error: type === SUSPEND.NON_RETENTIVE ? ERR.NOT_SUPPORTED : ERR.INVALID_PARAM };
      },
    ];
  }

  #startHart(id: bigint, entry: bigint, opaque: bigint): Answer {
    const hart = this.#harts[Number(id)];
    if (!hart) return { error: ERR.INVALID_PARAM };
    if (!hart.stopped) return { error: ERR.ALREADY_AVAILABLE };
    const { base, size } = this.#ram;
    if (entry % 2n || entry < BigInt(base) || entry >= BigInt(base + size)) return { error: ERR.INVALID_ADDRESS };
    startSupervisor(hart, Number(id), Number(entry), opaque);
    return {};
  }

  /** Takes effect when the run comes back; until then no hart goes on. */
  #systemReset(type: bigint, reason: bigint): Answer {
    const what = BigInt.asUintN(32, type);
    const why = BigInt.asUintN(32, reason);
    if (what > RESET.WARM_REBOOT || why > RESET_REASON.SYSTEM_FAILURE) return { error: ERR.INVALID_PARAM };
    for (const hart of this.#harts) hart.stop();
    if (what === RESET.SHUTDOWN) {
      this.#context.power("off", why === RESET_REASON.SYSTEM_FAILURE ? FAILURE_EXIT_CODE : 0);
    } else this.#context.power("reset");
    return {};
  }

  #console(): Call[] {
    return [
      (_, argument) => this.#write(argument(0), argument(1), argument(2)),
      () => ({ value: 0n }), // Nothing is ever there to be read: input goes to the serial port.
      (_, argument) => this.#putByte(argument(0)),
    ];
  }

  #write(length: bigint, low: bigint, high: bigint): Answer {
    const { base, size } = this.#ram;
    if (high || low < BigInt(base) || low + length > BigInt(base + size)) return { error: ERR.INVALID_PARAM };
    const bytes: Bytes = new Uint8Array(Number(length < CONSOLE_CHUNK ? length : CONSOLE_CHUNK));
    this.#context.memory.read(Number(low), bytes);
    this.#context.console(bytes);
    return { value: BigInt(bytes.length) };
  }

  #putByte(byte: bigint): Answer {
    this.#context.console(Uint8Array.of(Number(byte & 0xffn)));
    return {};
  }
}
