// A device under watch: what it writes to RAM, how much it works at a time, and what its state grows to.

import {
  type Address,
  type BackendServices,
  type Borrowed,
  type Bytes,
  type Clock,
  type Device,
  type DeviceDefinition,
  type Dma,
  type Plain,
  type Ram,
  type Region,
  type ServiceName,
  type Width,
} from "../../mod.ts";
import type { Referee } from "./referee.ts";

/** What a device may do at a time: in one register access, event, alarm or start. */
export const LIMITS = {
  /** Accesses to RAM and calls of back ends. */
  operations: 2 ** 18,
  /** Bytes moved to and from RAM. */
  bytes: 2 ** 26,
  /** Of the host's time. A slow host may take longer by chance, so the case has to be slow twice. */
  milliseconds: 2000,
  /** Bytes that its state may grow by. */
  state: 2 ** 22,
} as const;

/** A promise that the device did not keep. */
export class Finding extends Error {
  override readonly name = "Finding";
  /** `slow`: it took long, which may have been the host's fault. */
  constructor(message: string, readonly slow = false) {
    super(message);
  }
}

// deno-lint-ignore no-explicit-any -- any device: its config and state are its own
export type AnyDevice = DeviceDefinition<any, any, any>;

/** The most that was seen. */
export interface Most {
  operations: number;
  bytes: number;
  milliseconds: number;
  state: number;
}

/** Stands between core and one device. */
export class Watch {
  /** What RAM holds by all that the guest and the device said they wrote. */
  shadow: Uint8Array = new Uint8Array(0);
  /** Judges what a virtio device writes; any other one may write everywhere. */
  referee: Referee | undefined;
  /** The first promise that was broken. */
  finding: Finding | undefined;
  readonly most: Most = { operations: 0, bytes: 0, milliseconds: 0, state: 0 };
  /** Loans that are out. */
  lent = 0;
  device: Device | undefined;
  /** What the device reaches its back ends by. */
  services: Partial<BackendServices> = {};
  #ram: Ram | undefined;
  /** Bytes of its state when it was built. */
  #built: number | undefined;
  #depth = 0;
  #operations = 0;
  #bytes = 0;
  #what = "";

  /** Names the machine's RAM. */
  attach(ram: Ram): void {
    this.#ram = ram;
    this.shadow = new Uint8Array(ram.size);
  }

  /** All of RAM. */
  get ram(): Uint8Array<ArrayBufferLike> {
    const { buffer, offset, size } = this.#ram!;
    return new Uint8Array(buffer, offset, size);
  }

  /** The guest itself wrote there. */
  guestWrote(at: Address, length: number): void {
    const offset = at - this.#ram!.base;
    this.shadow.set(this.ram.subarray(offset, offset + length), offset);
  }

  /** Notes a broken promise; the first one counts. */
  found(sentence: string, slow = false): void {
    this.finding ??= new Finding(this.#what && !slow ? `${sentence}, while ${this.#what}` : sentence, slow);
  }

  /** A back end was called. */
  called(): void {
    this.#spend(1, 0);
  }

  /** RAM holds what it should, while nothing is on loan. */
  checkRam(): void {
    const [is, wanted] = [this.ram, this.shadow].map((bytes) =>
      new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8)
    );
    const word = is.findIndex((value, i) => value !== wanted[i]);
    if (word < 0) return;
    this.found(`RAM at 0x${(this.#ram!.base + 8 * word).toString(16)} changed, and nobody said so`);
  }

  /** The device's state has not grown beyond what it may. */
  checkState(): void {
    const size = sizeOf(this.device!.state);
    this.#built ??= size;
    this.most.state = Math.max(this.most.state, size);
    if (size > this.#built + LIMITS.state) this.found(`its state grew from ${this.#built} to ${size} bytes`);
  }

  /** The definition, made to create its device under watch. */
  around(definition: AnyDevice): AnyDevice {
    return {
      ...definition,
      create: (context) => {
        this.services = context as Partial<BackendServices>;
        const watched: Record<string, unknown> = { ...context };
        if (watched.dma) watched.dma = this.#dma(watched.dma as Dma);
        if (watched.clock) watched.clock = this.#clock(watched.clock as Clock);
        return this.device = this.#wrap(definition.create(watched as never));
      },
    } as AnyDevice & { needs: readonly ServiceName[] };
  }

  #wrap(device: Device): Device {
    const all = <A extends unknown[], R>(what: string, act: ((...args: A) => R) | undefined) =>
      act && ((...args: A): R => this.#enter(what, () => act(...args)));
    const events = Object.entries(device.events ?? {}).map(([name, deliver]) =>
      [name, all(`handling ${name}`, deliver.bind(device.events))!] as const
    );
    const { controller } = device;
    return {
      get state(): Plain {
        return device.state;
      },
      set state(state: Plain) {
        device.state = state;
      },
      regions: device.regions.map((region) => this.#region(region)),
      deviceTree: device.deviceTree,
      events: device.events && Object.fromEntries(events),
      controller: controller && {
        inputs: controller.inputs,
        set: all("taking an interrupt", controller.set.bind(controller))!,
      },
      refresh: all("refreshing", device.refresh?.bind(device)),
      pause: all("pausing", device.pause?.bind(device)),
      resume: all("resuming", device.resume?.bind(device)),
      dispose: device.dispose?.bind(device),
    };
  }

  #region(region: Region): Region {
    const { name, size, widths } = region;
    const place = (offset: number): string => `${name}+0x${offset.toString(16)}`;
    return {
      name,
      size,
      widths,
      read: (offset, width) => this.#enter(() => `reading ${place(offset)}`, () => region.read(offset, width)),
      write: (offset, value, width) =>
        this.#enter(
          () => `writing 0x${value.toString(16)} to ${place(offset)}`,
          () => region.write(offset, value, width),
        ),
    };
  }

  /** A call of core's or of the guest's: what it brings about is counted until it comes back. */
  #enter<T>(what: string | (() => string), act: () => T): T {
    if (this.#depth++ > 0) {
      try {
        return act();
      } finally {
        this.#depth--;
      }
    }
    this.#operations = this.#bytes = 0;
    this.referee?.begins();
    this.#what = typeof what === "string" ? what : what();
    const started = performance.now();
    try {
      return act();
    } finally {
      this.#depth--;
      const took = performance.now() - started;
      const { most } = this;
      most.operations = Math.max(most.operations, this.#operations);
      most.bytes = Math.max(most.bytes, this.#bytes);
      most.milliseconds = Math.max(most.milliseconds, took);
      if (took > LIMITS.milliseconds) this.found(`${this.#what} took ${Math.round(took)} ms`, true);
      this.#what = "";
    }
  }

  #spend(operations: number, bytes: number): void {
    this.#operations += operations;
    this.#bytes += bytes;
    const over = this.#operations > LIMITS.operations || this.#bytes > LIMITS.bytes;
    if (!over || this.#depth === 0) return;
    this.found(`it works without a bound: ${this.#operations} operations, ${this.#bytes} bytes`);
    if (this.#operations > 4 * LIMITS.operations || this.#bytes > 4 * LIMITS.bytes) throw this.finding;
  }

  #clock(clock: Clock): Clock {
    return {
      get now() {
        return clock.now;
      },
      alarm: (name, fire) => clock.alarm(name, () => this.#enter(`serving its alarm ${name}`, fire)),
    };
  }

  #dma(dma: Dma): Dma {
    const spend = (bytes: number): void => this.#spend(1, bytes);
    return {
      load(at: Address, width: Width): number {
        spend(width);
        return dma.load(at, width);
      },
      load64(at: Address): number {
        spend(8);
        return dma.load64(at);
      },
      read(at: Address, into: Bytes): void {
        spend(into.length);
        dma.read(at, into);
      },
      store: (at: Address, value: number, width: Width): void => {
        spend(width);
        this.#permit(at, width, () => dma.store(at, value, width));
        this.#wrote(at, width);
      },
      write: (at: Address, from: Bytes): void => {
        spend(from.length);
        this.#permit(at, from.length, () => dma.write(at, from));
        this.#wrote(at, from.length);
      },
      borrow: (at: Address, length: number, access: "read" | "write"): Borrowed => {
        spend(length);
        if (access === "read") return this.#lend(dma.borrow(at, length, access));
        const era = this.referee?.era;
        const loan = this.#permit(at, length, () => dma.borrow(at, length, access));
        return this.#lend(loan, (written = length) => {
          // The host may have the memory for longer than the driver lets the device have it.
          if (this.referee?.era === era) this.#permit(at, written, () => {});
          this.#wrote(at, written);
        });
      },
    };
  }

  #lend(loan: Borrowed, returned: (written?: number) => void = () => {}): Borrowed {
    this.lent++;
    return {
      bytes: loan.bytes,
      done: (written) => {
        this.lent--;
        loan.done(written);
        returned(written);
      },
    };
  }

  /** Writes where the driver should have let the device write. A write that throws is none. */
  #permit<T>(at: Address, length: number, write: () => T): T {
    const permitted = this.referee?.permits(at, length) ?? true;
    const result = write();
    if (!permitted) this.found(`it wrote ${length} bytes at 0x${at.toString(16)}, which no chain offers`);
    return result;
  }

  #wrote(at: Address, length: number): void {
    this.guestWrote(at, length);
    const complaint = this.referee?.wrote(at, length);
    if (complaint) this.found(complaint);
  }
}

/** Roughly how many bytes plain data takes. */
function sizeOf(value: Plain): number {
  if (value instanceof Uint8Array) return value.length;
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null) return 8;
  return Object.values(value).reduce<number>((sum, item) => sum + 8 + sizeOf(item), 8);
}
