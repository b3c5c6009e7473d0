// Linux guests for tests and measurements: boots Debian's kernel, and drives its shell by program.

import { findImage, GUEST_PROMPT, type GuestImage, pullImage } from "../../cli/images.ts";
import {
  createMachine,
  type DeviceDescription,
  type Machine,
  type MachineDescription,
  type MachineOptions,
} from "../../mod.ts";

const IMAGE = "debian-13";
/** Seconds that a boot may take on a machine with other work to do. */
const BOOT_LIMIT = 180;
const COMMAND_LIMIT = 60;

/** The image to boot, pulled if it is missing; if that is impossible, prints why. */
export async function guestImage(): Promise<GuestImage | undefined> {
  try {
    return await findImage(IMAGE) ?? await pullImage(IMAGE);
  } catch (error) {
    console.error(`No guest boots here: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

/** What a command did. */
export interface Answer {
  readonly status: number;
  /** What it printed, lines ended by `\n`. */
  readonly output: string;
}

/** Settles as `promise` does, and rejects after `seconds`, naming what was waited for. */
export async function within<T>(seconds: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${seconds} s for ${what}`)), seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Ends every answer, around the exit status: no program prints it. */
const MARK = "\x1e";
/** Reads a line and runs it, without the echo and the line editing of a shell for people. */
const LOOP = `stty -echo; while read -r line; do eval "$line"; printf '\\036%d\\036' $?; done`;

/** A guest's shell behind a console. */
export class GuestShell {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  #said = "";
  #ended = false;
  #heard = Promise.withResolvers<void>();

  constructor({ readable, writable }: Machine["console"]) {
    this.#writer = writable.getWriter();
    this.#reading = this.#listen(readable);
  }

  /** Waits for the prompt and takes the shell over; gives what the guest said up to then. */
  async ready(seconds: number = BOOT_LIMIT): Promise<string> {
    const greeting = await this.until(GUEST_PROMPT, seconds);
    this.type(`${LOOP}\n`);
    await this.run("true");
    return greeting;
  }

  /** Runs one line of shell. */
  async run(command: string, seconds: number = COMMAND_LIMIT): Promise<Answer> {
    this.type(`${command}\n`);
    const output = await this.until(MARK, seconds, command);
    const status = await this.until(MARK, seconds, command);
    return { status: Number(status), output };
  }

  /** What a line of shell prints, the last end of line cut. Throws if its exit status is not 0. */
  async get(command: string, seconds?: number): Promise<string> {
    const { status, output } = await this.run(command, seconds);
    if (status !== 0) throw new Error(`The guest's ${JSON.stringify(command)} exited with ${status}: ${output}`);
    return output.replace(/\n$/, "");
  }

  /** Types without waiting. */
  type(text: string): void {
    // A machine that is off reads no more.
    this.#writer.write(new TextEncoder().encode(text)).catch(() => {});
  }

  /** Waits until the guest says `text`; gives what it said before. */
  async until(text: string, seconds: number = COMMAND_LIMIT, why: string = JSON.stringify(text)): Promise<string> {
    const deadline = performance.now() + seconds * 1000;
    let at: number;
    while ((at = this.#said.indexOf(text)) < 0) {
      const tail = () => `; the guest said last: ${JSON.stringify(this.#said.slice(-400))}`;
      if (this.#ended) throw new Error(`The console ended before ${why}${tail()}`);
      const left = Math.max(0, deadline - performance.now()) / 1000;
      await within(left, "", this.#heard.promise).catch(() => {
        throw new Error(`Waited ${seconds} s for ${why}${tail()}`);
      });
    }
    const before = this.#said.slice(0, at);
    this.#said = this.#said.slice(at + text.length);
    return before.replaceAll(/\r+\n/g, "\n");
  }

  /** What the guest has said and nobody has waited for. */
  get rest(): string {
    return this.#said;
  }

  /** Settles when the guest's console has ended. */
  get ended(): Promise<void> {
    return this.#reading;
  }

  async #listen(readable: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const bytes of readable) {
        this.#said += decoder.decode(bytes, { stream: true });
        this.#wake();
      }
    } finally {
      this.#ended = true;
      this.#wake();
    }
  }

  #wake(): void {
    this.#heard.resolve();
    this.#heard = Promise.withResolvers();
  }
}

/** How to boot; the rest is as in a machine's description. */
export interface LinuxOptions extends Omit<MachineDescription, "boot" | "devices">, Omit<MachineOptions, "base"> {
  readonly image: GuestImage;
  /** More words for the kernel's command line. */
  readonly append?: string;
  readonly bios?: string;
  /** Devices besides the serial port. */
  readonly devices?: readonly DeviceDescription[];
}

/** A machine that boots, or has booted, Linux. */
export class LinuxGuest implements AsyncDisposable {
  readonly shell: GuestShell;
  /** Settles when the guest is off. */
  readonly ended: Promise<{ code: number }>;

  private constructor(readonly machine: Machine) {
    this.shell = new GuestShell(machine.console);
    this.ended = machine.run();
    // A test that fails before the guest is off disposes it.
    this.ended.catch(() => {});
  }

  /** Starts to boot. The kernel skips the self-tests of its ciphers, which would go on behind the prompt. */
  static async start(options: LinuxOptions): Promise<LinuxGuest> {
    const { image, append = "", bios, devices = [], plugins, hypervisor, signal, log, quantum, record, ...rest } =
      options;
    const { kernel, initrd } = image;
    const words = `console=ttyS0 quiet cryptomgr.notests ${append}`;
    const machine = await createMachine({
      memory: "256M",
      ...rest,
      boot: { kernel, initrd, append: words, ...(bios ? { bios } : {}) },
      devices: [{ use: "serial_16550" }, ...devices],
    }, { plugins, hypervisor, signal, log, quantum, record, base: import.meta.url });
    return new LinuxGuest(machine);
  }

  /** Boots to the prompt. */
  static async boot(options: LinuxOptions): Promise<LinuxGuest> {
    const guest = await LinuxGuest.start(options);
    try {
      await guest.shell.ready();
      return guest;
    } catch (error) {
      await guest[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Powers off; gives the exit code. */
  async powerOff(): Promise<number> {
    this.shell.type("poweroff\n");
    return (await within(COMMAND_LIMIT, "the guest to power off", this.ended)).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine[Symbol.asyncDispose]();
    await this.shell.ended;
  }
}
