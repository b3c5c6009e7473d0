// A virtual machine of KVM's: RAM, interrupt controllers, and the eventfds that stand for lines and registers.

import type { Address } from "../../core/plugin.ts";
import {
  IOEVENTFD_DATAMATCH,
  IOEVENTFD_PIO,
  IRQFD_RESAMPLE,
  KVM,
  MEM_LOG_DIRTY_PAGES,
  PIT_SPEAKER_DUMMY,
} from "./api.ts";
import type { Libc } from "./libc.ts";
import {
  kvm_dirty_log,
  kvm_ioeventfd,
  kvm_irqfd,
  kvm_pit_config,
  kvm_userspace_memory_region,
  Struct,
} from "./structures.ts";

/** Where KVM keeps three pages for real mode on Intel's older processors, and one for its page table: outside of RAM. */
const TSS_AT = 0xfffb_d000;
const IDENTITY_MAP_AT = 0xfffb_c000n;
const PAGE_SHIFT = 12;

/** Guest RAM by its address in this process. */
export interface HostRam {
  readonly address: bigint;
  readonly base: Address;
  readonly size: number;
}

/** A register whose stores signal an eventfd instead of leaving the guest. */
export interface Notification {
  readonly at: Address;
  readonly port: boolean;
  readonly width: 1 | 2 | 4;
  readonly value: number;
  readonly fd: number;
}

/** A VM, with the in-kernel interrupt controllers and the timer. */
export class Vm {
  readonly fd: number;
  readonly #libc: Libc;
  readonly #ram: HostRam;
  #logging = false;
  #closed = false;

  constructor(libc: Libc, kvm: number, ram: HostRam) {
    this.#libc = libc;
    this.#ram = ram;
    this.fd = libc.ioctl("creating a VM", kvm, KVM.CREATE_VM);
    const pit = new Struct(kvm_pit_config).set("flags", PIT_SPEAKER_DUMMY);
    try {
      libc.ioctl("placing the TSS", this.fd, KVM.SET_TSS_ADDR, TSS_AT);
      libc.ioctl("placing the identity map", this.fd, KVM.SET_IDENTITY_MAP_ADDR, bytesOf(IDENTITY_MAP_AT));
      libc.ioctl("creating the interrupt controllers", this.fd, KVM.CREATE_IRQCHIP);
      libc.ioctl("creating the timer", this.fd, KVM.CREATE_PIT2, pit.bytes);
      this.#setMemory(0);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Creates a vCPU; gives its file. */
  createVcpu(id: number): number {
    return this.#libc.ioctl(`creating vCPU ${id}`, this.fd, KVM.CREATE_VCPU, id);
  }

  /**
   * Has an eventfd raise an input of the interrupt controllers. When the guest has done with the interrupt, KVM lowers
   * the input and signals `resampled`: a line that is up still has to be signalled again.
   */
  connectInterrupt(gsi: number, fd: number, resampled: number): void {
    const irqfd = new Struct(kvm_irqfd).set("fd", fd).set("gsi", gsi).set("flags", IRQFD_RESAMPLE)
      .set("resamplefd", resampled);
    this.#libc.ioctl(`connecting interrupt ${gsi}`, this.fd, KVM.IRQFD, irqfd.bytes);
  }

  /** Has stores of one value to one register signal an eventfd. */
  connectNotification({ at, port, width, value, fd }: Notification): void {
    const ioeventfd = new Struct(kvm_ioeventfd).set("addr", at).set("len", width).set("datamatch", value).set("fd", fd)
      .set("flags", IOEVENTFD_DATAMATCH | (port ? IOEVENTFD_PIO : 0));
    this.#libc.ioctl(`connecting the register at 0x${at.toString(16)}`, this.fd, KVM.IOEVENTFD, ioeventfd.bytes);
  }

  /**
   * Pages, counted from RAM's base, that the guest has written since the last call; at the first call, which begins
   * the logging, all of them.
   */
  collectDirty(): number[] {
    const pages = this.#ram.size >>> PAGE_SHIFT;
    if (!this.#logging) {
      this.#setMemory(MEM_LOG_DIRTY_PAGES);
      this.#logging = true;
      return Array.from({ length: pages }, (_, page) => page);
    }
    const bitmap = new Uint8Array(Math.ceil(pages / 64) * 8);
    const log = new Struct(kvm_dirty_log).set(
      "dirty_bitmap",
      Deno.UnsafePointer.value(Deno.UnsafePointer.of(bitmap)),
    );
    this.#libc.ioctl("reading the dirty log", this.fd, KVM.GET_DIRTY_LOG, log.bytes);
    const dirty: number[] = [];
    bitmap.forEach((byte, i) => {
      for (let bit = 0; byte >> bit !== 0; bit++) if (byte >> bit & 1) dirty.push(8 * i + bit);
    });
    return dirty;
  }

  /** Gives the VM back, at the first call: its number may be another file's afterwards. */
  close(): void {
    if (!this.#closed) this.#libc.close(this.fd);
    this.#closed = true;
  }

  #setMemory(flags: number): void {
    const { address, base, size } = this.#ram;
    const region = new Struct(kvm_userspace_memory_region)
      .set("flags", flags)
      .set("guest_phys_addr", base)
      .set("memory_size", size)
      .set("userspace_addr", address);
    this.#libc.ioctl("giving the guest its RAM", this.fd, KVM.SET_USER_MEMORY_REGION, region.bytes);
  }
}

function bytesOf(value: bigint): Uint8Array<ArrayBuffer> {
  return new Uint8Array(BigUint64Array.of(value).buffer);
}
