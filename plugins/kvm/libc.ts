// FFI to libc, all of it: files, memory maps, eventfds, epoll, signals (Linux on x86-64).

/** A C library's functions, as JavaScript calls them. Numbers that begin an error are in `errno`. */
const SYMBOLS = {
  open: { parameters: ["buffer", "i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  access: { parameters: ["buffer", "i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  ioctl: { parameters: ["i32", "u32", "usize"], result: "i32" },
  ioctl_buffer: { name: "ioctl", parameters: ["i32", "u32", "buffer"], result: "i32" },
  mmap: { parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
  epoll_wait_aside: {
    name: "epoll_wait",
    parameters: ["i32", "buffer", "i32", "i32"],
    result: "i32",
    nonblocking: true,
  },
  ppoll: { parameters: ["buffer", "usize", "buffer", "pointer"], result: "i32" },
  getpid: { parameters: [], result: "i32" },
  gettid: { parameters: [], result: "i32" },
  tgkill: { parameters: ["i32", "i32", "i32"], result: "i32" },
  sigaction: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  abs: { type: "pointer" },
  __libc_current_sigrtmin: { parameters: [], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Error numbers that are told apart. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  ENXIO: 6,
  E2BIG: 7,
  EAGAIN: 11,
  EACCES: 13,
  EBUSY: 16,
  ENODEV: 19,
  EINVAL: 22,
};

const NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  4: "EINTR",
  5: "EIO",
  6: "ENXIO",
  7: "E2BIG",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  14: "EFAULT",
  16: "EBUSY",
  17: "EEXIST",
  19: "ENODEV",
  22: "EINVAL",
  24: "EMFILE",
  25: "ENOTTY",
  28: "ENOSPC",
};

/** What the C headers call an error. */
export function errorName(errno: number): string {
  return NAMES[errno] ?? `errno ${errno}`;
}

const O = { RDWR: 2, CLOEXEC: 0o2000000 } as const;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const EFD_CLOEXEC_NONBLOCK = 0o2004000;
const EPOLLIN = 1;
const EPOLL_CTL_ADD = 1;
/** Bytes of a `struct epoll_event`, which is packed; its data lies at 4. */
const EPOLL_EVENT = 12;
/** glibc's `struct sigaction`: the handler at 0, the mask at 8, the flags at 136. */
const SIGACTION_SIZE = 152;

/** A zero-terminated string. */
function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

/** A failed call of libc's. */
export class SystemError extends Error {
  /** Tells it from other errors. */
  override readonly name = "SystemError";
  /** `action` is what was tried. */
  constructor(action: string, readonly errno: number) {
    super(`${action}: ${errorName(errno)}`);
  }
}

/** libc as one thread sees it: `errno` is the thread's own. */
export class Libc {
  static #opened: Libc | undefined;
  readonly #library = Deno.dlopen("libc.so.6", SYMBOLS);
  readonly #errno = new Deno.UnsafePointerView(this.#library.symbols.__errno_location()!);

  private constructor() {}

  /** The thread's own, opened at the first call and kept. Throws what `Deno.dlopen` throws. */
  static get(): Libc {
    return Libc.#opened ??= new Libc();
  }

  /** The error of the call before: to be read right after it. */
  get errno(): number {
    return this.#errno.getInt32();
  }

  /** Opens a file for reading and writing. */
  open(path: string): number {
    return this.#checked(`opening ${path}`, this.#library.symbols.open(cString(path), O.RDWR | O.CLOEXEC, 0));
  }

  /** Whether a file is there. */
  exists(path: string): boolean {
    return this.#library.symbols.access(cString(path), 0) === 0;
  }

  close(fd: number): void {
    this.#library.symbols.close(fd);
  }

  /** An ioctl whose failure is thrown, with `action` in the message. */
  ioctl(action: string, fd: number, request: number, argument: number | bigint | Uint8Array<ArrayBuffer> = 0): number {
    const { symbols } = this.#library;
    const result = argument instanceof Uint8Array
      ? symbols.ioctl_buffer(fd, request, argument)
      : symbols.ioctl(fd, request, BigInt(argument));
    return this.#checked(action, result);
  }

  /** An ioctl without an argument, as it comes back: less than 0 for a failure, which `errno` names. */
  bareIoctl(fd: number, request: number): number {
    return this.#library.symbols.ioctl(fd, request, 0n);
  }

  /** Maps a file's first `length` bytes, shared. */
  map(fd: number, length: number): Deno.PointerObject {
    const { symbols } = this.#library;
    const at = symbols.mmap(0n, BigInt(length), PROT_READ_WRITE, MAP_SHARED, fd, 0n);
    if (at === null || Deno.UnsafePointer.value(at) === 0xffff_ffff_ffff_ffffn) {
      throw new SystemError("mapping a file", this.errno);
    }
    return at;
  }

  unmap(at: Deno.PointerObject, length: number): void {
    this.#library.symbols.munmap(at, BigInt(length));
  }

  /** An eventfd that never blocks. */
  eventfd(): number {
    return this.#checked("making an eventfd", this.#library.symbols.eventfd(0, EFD_CLOEXEC_NONBLOCK));
  }

  /** Adds one to an eventfd. */
  signal(fd: number): void {
    this.#library.symbols.write(fd, ONE, 8n);
  }

  /** Takes an eventfd back to zero; whether it was above. */
  takeSignal(fd: number): boolean {
    return Number(this.#library.symbols.read(fd, this.#count, 8n)) === 8;
  }
  readonly #count = new Uint8Array(8);

  /** A set of files to wait for. */
  epoll(): number {
    return this.#checked("making an epoll set", this.#library.symbols.epoll_create1(O.CLOEXEC));
  }

  /** Has `epoll` tell of `fd` by `token`, as long as it can be read from. */
  watch(epoll: number, fd: number, token: number): void {
    const event = new Uint8Array(EPOLL_EVENT);
    const view = new DataView(event.buffer);
    view.setUint32(0, EPOLLIN, true);
    view.setUint32(4, token, true);
    this.#checked("watching a file", this.#library.symbols.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, event));
  }

  /** The tokens of what is ready now. */
  ready(epoll: number): number[] {
    const count = this.#library.symbols.epoll_wait(epoll, this.#events, EVENTS, 0);
    const view = new DataView(this.#events.buffer);
    return Array.from({ length: Math.max(0, count) }, (_, i) => view.getUint32(i * EPOLL_EVENT + 4, true));
  }
  readonly #events = new Uint8Array(EVENTS * EPOLL_EVENT);

  /** Settles when something is ready, or after so many milliseconds (-1: never), on a thread of Deno's pool. */
  async wait(epoll: number, milliseconds: number): Promise<void> {
    // The events are asked for again: this call's buffer is its own, and is held until the pool has done with it.
    const event = new Uint8Array(EPOLL_EVENT);
    this.#aside.add(event);
    await this.#library.symbols.epoll_wait_aside(epoll, event, 1, milliseconds);
    this.#aside.delete(event);
  }
  readonly #aside = new Set<Uint8Array>();

  /** Blocks this thread until something is ready, at most for so many nanoseconds. */
  block(epoll: number, nanos: number): void {
    const poll = new DataView(this.#poll.buffer);
    poll.setInt32(0, epoll, true);
    poll.setInt16(4, EPOLLIN, true);
    new DataView(this.#timeout.buffer).setBigInt64(8, BigInt(Math.floor(nanos)), true);
    this.#library.symbols.ppoll(this.#poll, 1n, this.#timeout, null);
  }
  readonly #poll = new Uint8Array(8);
  readonly #timeout = new Uint8Array(16);

  get pid(): number {
    return this.#library.symbols.getpid();
  }

  get tid(): number {
    return this.#library.symbols.gettid();
  }

  /** The number of a signal that neither Deno nor glibc uses. */
  get kickSignal(): number {
    return this.#library.symbols.__libc_current_sigrtmin() + 6;
  }

  /** Has a signal do nothing but interrupt system calls: its handler is a function of libc's without effect. */
  ignoreLoudly(signal: number): void {
    const { symbols } = this.#library;
    const action = new Uint8Array(SIGACTION_SIZE);
    new DataView(action.buffer).setBigUint64(0, Deno.UnsafePointer.value(symbols.abs), true);
    this.#checked("installing a signal handler", symbols.sigaction(signal, action, null));
  }

  /** Signals one thread. A thread that has ended is no error. */
  kill(pid: number, tid: number, signal: number): void {
    this.#library.symbols.tgkill(pid, tid, signal);
  }

  #checked(action: string, result: number): number {
    if (result < 0) throw new SystemError(action, this.errno);
    return result;
  }
}

/** The address of a buffer whose memory does not move: a WebAssembly.Memory's. */
export function addressOf(buffer: ArrayBufferLike): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(new Uint8Array(buffer) as Uint8Array<ArrayBuffer>));
}

/** The memory at an address, as a buffer. */
export function bufferAt(address: bigint, length: number): ArrayBuffer {
  return Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, length);
}

const EVENTS = 64;
const ONE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);
