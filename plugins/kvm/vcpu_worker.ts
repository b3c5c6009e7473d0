// The thread of one vCPU: KVM_RUN again and again; accesses to registers go to the machine's thread and back.

import { EXIT, IO_OUT, KVM, SYSTEM_EVENT } from "./api.ts";
import { fixUp } from "./fixups.ts";
import { bufferAt, ERRNO, Libc } from "./libc.ts";
import { COMMAND, commandOf, Mailbox, STATE, Watch } from "./mailbox.ts";
import { Registers } from "./registers.ts";
import { kvm_run, offsetsOf, Struct } from "./structures.ts";
import type { HostRam } from "./vm.ts";

/** What the machine's thread tells a Worker at the start. */
export interface WorkerStart {
  readonly mailboxes: SharedArrayBuffer;
  readonly vcpu: number;
  /** The eventfd that the machine's thread listens to. */
  readonly doorbell: number;
  readonly signal: number;
  readonly ram: HostRam;
  /** Where on the bus I/O ports begin. */
  readonly ports: number;
  /** Bytes of KVM's shared structure. */
  readonly runSize: number;
  /** Whether the table of fix-ups applies. */
  readonly pvm: boolean;
  /** How often to look for an answer before going to sleep. */
  readonly looks: number;
}

const AT = offsetsOf(kvm_run);

/** Drives a vCPU until it is told to end. */
class Runner {
  readonly #start: WorkerStart;
  readonly #libc = Libc.get();
  readonly #mailbox: Mailbox;
  readonly #watch: Watch;
  #fd = -1;
  #generation = 0;
  #run = new DataView(new ArrayBuffer(0));
  /** KVM has an access to finish, which happens at the next KVM_RUN. */
  #owed = false;
  /** Why the vCPU can not go on by itself. A pause may come before the machine's thread has seen it. */
  #end: number | undefined;

  constructor(start: WorkerStart) {
    this.#start = start;
    this.#mailbox = new Mailbox(start.mailboxes, start.vcpu);
    this.#watch = new Watch(start.mailboxes);
  }

  drive(): void {
    const mailbox = this.#mailbox;
    this.#libc.ignoreLoudly(this.#start.signal);
    mailbox.tid = this.#libc.tid;
    while (true) {
      const { order } = mailbox;
      switch (commandOf(order)) {
        case COMMAND.EXIT:
          return;
        case COMMAND.STOP:
          this.#finish();
          mailbox.obey(order);
          this.#ring();
          break;
        default:
          this.#attach();
          mailbox.state = STATE.RUNNING;
          while (mailbox.order === order && this.#end === undefined) this.#step();
          if (this.#end === undefined) continue;
          mailbox.state = this.#end;
          this.#ring();
      }
      mailbox.waitWhile(order);
    }
  }

  /** Takes on the vCPU of today: a reset machine has a new one. */
  #attach(): void {
    const { generation, fd, run } = this.#mailbox.vcpu;
    if (generation === this.#generation) return;
    this.#generation = generation;
    this.#fd = fd;
    this.#run = new DataView(bufferAt(run, this.#start.runSize));
    this.#owed = false;
    this.#end = undefined;
  }

  /** Lets KVM finish the access that was answered, and runs nothing else. */
  #finish(): void {
    while (this.#owed) {
      this.#run.setUint8(AT.immediate_exit, 1);
      this.#step();
    }
  }

  #step(): void {
    const result = this.#libc.bareIoctl(this.#fd, KVM.RUN);
    this.#owed = false;
    this.#mailbox.countExit();
    if (result < 0) {
      const { errno } = this.#libc;
      this.#run.setUint8(AT.immediate_exit, 0);
      if (errno !== ERRNO.EINTR && errno !== ERRNO.EAGAIN) this.#stuck(STATE.FAULT, errno);
      return;
    }
    switch (this.#run.getUint32(AT.exit_reason, true)) {
      case EXIT.IO:
        return this.#port();
      case EXIT.MMIO:
        return this.#register();
      case EXIT.INTR:
        return;
      case EXIT.SHUTDOWN:
        return this.#stuck(STATE.RESET);
      case EXIT.SYSTEM_EVENT: {
        const type = this.#run.getUint32(AT.system_event_type, true);
        if (type === SYSTEM_EVENT.SHUTDOWN) return this.#stuck(STATE.OFF);
        return this.#stuck(type === SYSTEM_EVENT.RESET ? STATE.RESET : STATE.FAULT);
      }
      default:
        if (!this.#start.pvm || !this.#mend()) this.#stuck(STATE.FAULT);
    }
  }

  /** An instruction of a port: one access, or as many as it repeats. */
  #port(): void {
    const run = this.#run;
    const write = run.getUint8(AT.io_direction) === IO_OUT;
    const size = run.getUint8(AT.io_size) as 1 | 2 | 4;
    const at = this.#start.ports + run.getUint16(AT.io_port, true);
    const count = run.getUint32(AT.io_count, true);
    const data = Number(run.getBigUint64(AT.io_data_offset, true));
    for (let i = 0; i < count; i++) {
      if (write) this.#access(true, at, size, load(run, data + i * size, size));
      else store(run, data + i * size, size, this.#access(false, at, size, 0));
    }
    this.#owed = true;
  }

  /** A register in memory. Eight bytes are two accesses of four, the low half first; other odd lengths none. */
  #register(): void {
    const run = this.#run;
    const write = run.getUint8(AT.mmio_is_write) === 1;
    const length = run.getUint32(AT.mmio_len, true);
    const at = run.getUint32(AT.mmio_phys_addr, true) + run.getUint32(AT.mmio_phys_addr + 4, true) * 2 ** 32;
    const width = length === 8 ? 4 : length;
    this.#owed = true;
    if (width !== 1 && width !== 2 && width !== 4) {
      for (let i = 0; i < length && !write; i++) run.setUint8(AT.mmio_data + i, 0xff);
      return;
    }
    for (let i = 0; i < length; i += width) {
      if (write) this.#access(true, at + i, width, load(run, AT.mmio_data + i, width));
      else store(run, AT.mmio_data + i, width, this.#access(false, at + i, width, 0));
    }
  }

  #access(write: boolean, at: number, width: 1 | 2 | 4, value: number): number {
    this.#mailbox.post(write, at, width, value);
    this.#ring();
    return this.#mailbox.answer(this.#start.looks);
  }

  /** The table of fix-ups may know the instruction that KVM could not do. */
  #mend(): boolean {
    const run = new Struct(kvm_run, this.#run.buffer as ArrayBuffer);
    return fixUp(this.#libc, this.#fd, run, new Registers(this.#libc, this.#fd), this.#start.ram);
  }

  /** The vCPU can not go on by itself. */
  #stuck(state: number, errno = 0): void {
    this.#mailbox.errno = errno;
    this.#end = state;
  }

  #ring(): void {
    if (!this.#watch.awake) this.#libc.signal(this.#start.doorbell);
  }
}

function load(run: DataView, at: number, width: 1 | 2 | 4): number {
  if (width === 4) return run.getUint32(at, true);
  return width === 2 ? run.getUint16(at, true) : run.getUint8(at);
}

function store(run: DataView, at: number, width: 1 | 2 | 4, value: number): void {
  if (width === 4) run.setUint32(at, value, true);
  else if (width === 2) run.setUint16(at, value, true);
  else run.setUint8(at, value);
}

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<WorkerStart>) => void;
  postMessage(message: unknown): void;
};

scope.onmessage = ({ data }) => {
  let failure: string | undefined;
  try {
    new Runner(data).drive();
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  }
  scope.postMessage({ ended: true, failure });
};
