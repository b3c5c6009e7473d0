// A vCPU as the machine's thread sees it: its Worker, its registers, its part in a pause.

import type { Hart, HartEntry } from "../../core/plugin.ts";
import { KVM, MP_STATE } from "./api.ts";
import { type Leaf, setLeaves } from "./cpuid.ts";
import { bufferAt, type Libc } from "./libc.ts";
import { COMMAND, Mailbox, STATE } from "./mailbox.ts";
import { type Mode, MODES, Registers } from "./registers.ts";
import { kvm_mp_state, kvm_run, offsetsOf, Struct } from "./structures.ts";
import type { WorkerStart } from "./vcpu_worker.ts";
import type { Vm } from "./vm.ts";

const { immediate_exit: IMMEDIATE_EXIT } = offsetsOf(kvm_run);

/** A vCPU's own files in one VM; a reset makes them anew. */
interface Files {
  readonly fd: number;
  readonly map: Deno.PointerObject;
  readonly run: ArrayBuffer;
  readonly registers: Registers;
}

/** One vCPU, and the Worker that runs it. */
export class Vcpu implements Hart {
  readonly mailbox: Mailbox;
  readonly #libc: Libc;
  readonly #start: WorkerStart;
  readonly #pid: number;
  readonly #worker: Worker;
  /** Settles when the Worker's loop has ended, with what it failed at. */
  readonly #ended = Promise.withResolvers<string | undefined>();
  #files: Files | undefined;
  #stopped = true;
  /** What the Worker failed at: a fault of the host's. */
  failure: string | undefined;

  constructor(libc: Libc, start: WorkerStart, failed: () => void) {
    this.#libc = libc;
    this.#start = start;
    this.#pid = libc.pid;
    this.mailbox = new Mailbox(start.mailboxes, start.vcpu);
    this.#worker = new Worker(new URL("./vcpu_worker.ts", import.meta.url).href, {
      type: "module",
      name: `vCPU ${start.vcpu}`,
    });
    this.#worker.onmessage = ({ data }) => this.#end(data.failure, failed);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#end(event.message, failed);
    };
    this.#worker.postMessage(start);
  }

  /** Takes the vCPU of a new VM. The Worker must be stopped. */
  attach(vm: Vm, leaves: readonly Leaf[]): void {
    const libc = this.#libc;
    const { vcpu, runSize } = this.#start;
    const fd = vm.createVcpu(vcpu);
    try {
      setLeaves(libc, fd, leaves);
      const registers = new Registers(libc, fd);
      registers.prepare();
      const map = libc.map(fd, runSize);
      const at = Deno.UnsafePointer.value(map);
      this.#files = { fd, map, run: bufferAt(at, runSize), registers };
      this.mailbox.attach(fd, at);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    this.#stopped = true;
  }

  /** Gives the vCPU's files back. The Worker must be stopped. */
  detach(): void {
    if (!this.#files) return;
    this.#libc.unmap(this.#files.map, this.#start.runSize);
    this.#libc.close(this.#files.fd);
    this.#files = undefined;
  }

  get registers(): Registers {
    return this.#files!.registers;
  }

  /** What KVM_RUN said last. */
  get run(): Struct<typeof kvm_run> {
    return new Struct(kvm_run, this.#files!.run);
  }

  /** The vCPU's file. */
  get fd(): number {
    return this.#files!.fd;
  }

  // ---------------------------------------------------------------- for the engine

  /** Lets the Worker run. A vCPU that nobody has started waits inside KVM for another one to start it. */
  go(): void {
    this.mailbox.command(COMMAND.RUN);
  }

  /** Asks the Worker to stop; `halted` says when it has. */
  halt(): void {
    this.mailbox.command(COMMAND.STOP);
    this.#kick();
  }

  /** Whether the Worker has stopped. One that was on its way into KVM_RUN is kicked again. */
  get halted(): boolean {
    if (this.mailbox.stopped) return true;
    if (this.mailbox.state === STATE.RUNNING) this.#kick();
    return this.failure !== undefined;
  }

  /** Has the Worker, which must be stopped, leave its loop. */
  async end(): Promise<void> {
    this.mailbox.command(COMMAND.EXIT);
    await this.#ended.promise;
  }

  /** Gives back all that the vCPU has. The Worker must have ended, or never have run. */
  close(): void {
    this.#worker.terminate();
    this.detach();
  }

  /** Out of KVM_RUN, whatever the guest does: the flag for one that is about to enter, the signal for one inside. */
  #kick(): void {
    if (!this.#files) return;
    new Uint8Array(this.#files.run)[IMMEDIATE_EXIT] = 1;
    if (this.mailbox.tid) this.#libc.kill(this.#pid, this.mailbox.tid, this.#start.signal);
  }

  #end(failure: string | undefined, failed: () => void): void {
    this.#ended.resolve(failure);
    if (failure === undefined) return;
    this.failure = failure;
    failed();
  }

  // ---------------------------------------------------------------- as a hart

  get(register: string): bigint {
    return this.registers.get(register);
  }

  set(register: string, value: bigint): void {
    this.registers.set(register, value);
  }

  start({ pc, mode, registers = {} }: HartEntry): void {
    if (!(MODES as readonly string[]).includes(mode)) {
      throw new RangeError(`Cannot start vCPU ${this.#start.vcpu}: wanted a mode of ${MODES.join(", ")}, got ${mode}`);
    }
    this.mailbox.renew();
    this.registers.start(mode as Mode, pc, registers);
    this.#setMpState(MP_STATE.RUNNABLE);
    this.#stopped = false;
  }

  stop(): void {
    this.#setMpState(MP_STATE.UNINITIALIZED);
    this.#stopped = true;
  }

  /** As far as the machine's thread has to do with it: another vCPU may have started it. */
  get stopped(): boolean {
    return this.#stopped;
  }

  setInterrupt(line: number): void {
    throw new RangeError(
      `Cannot set interrupt ${line} of vCPU ${this.#start.vcpu}: interrupts go through the engine's controller`,
    );
  }

  flushTranslations(): void {}

  #setMpState(state: number): void {
    const mp = new Struct(kvm_mp_state).set("mp_state", state);
    this.#libc.ioctl("setting what a vCPU does", this.fd, KVM.SET_MP_STATE, mp.bytes);
  }
}
