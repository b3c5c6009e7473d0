// Model-specific registers, read and set as lists (Linux, Documentation/virt/kvm/api.rst, KVM_GET_MSRS).

import { KVM } from "./api.ts";
import { ERRNO, type Libc, SystemError } from "./libc.ts";
import { kvm_msr_entry, kvm_msr_list, kvm_msrs, Struct } from "./structures.ts";

/** A register's number and its value. */
export type Msr = readonly [index: number, value: bigint];

/** The numbers that this host's KVM lists. */
export function listedMsrs(libc: Libc, kvm: number): Set<number> {
  for (let room = 256;; room *= 2) {
    const list = new Uint32Array(1 + room);
    const head = new Struct(kvm_msr_list, list.buffer).set("nmsrs", room);
    try {
      libc.ioctl("asking for the list of MSRs", kvm, KVM.GET_MSR_INDEX_LIST, new Uint8Array(list.buffer));
    } catch (error) {
      if (error instanceof SystemError && error.errno === ERRNO.E2BIG && room < 16384) continue;
      throw error;
    }
    return new Set(list.subarray(1, 1 + head.get("nmsrs")));
  }
}

/** Reads registers of a vCPU. Throws a `SystemError` if KVM has not all of them. */
export function readMsrs(libc: Libc, fd: number, indices: readonly number[]): Msr[] {
  const list = encode(indices.map((index) => [index, 0n]));
  every(libc.ioctl("reading MSRs", fd, KVM.GET_MSRS, list), indices);
  return indices.map((index, i) => [index, entry(list, i).getBig("data")]);
}

/** Sets registers of a vCPU, in order. Throws a `SystemError` if KVM does not take all of them. */
export function setMsrs(libc: Libc, fd: number, msrs: readonly Msr[]): void {
  every(libc.ioctl("setting MSRs", fd, KVM.SET_MSRS, encode(msrs)), msrs.map(([index]) => index));
}

/** KVM gives the number of registers that it did. */
function every(done: number, indices: readonly number[]): void {
  if (done < indices.length) throw new SystemError(`MSR 0x${indices[done].toString(16)}`, ERRNO.EINVAL);
}

function entry(list: Uint8Array<ArrayBuffer>, i: number): Struct<typeof kvm_msr_entry> {
  return new Struct(kvm_msr_entry, list.buffer, kvm_msrs.size + i * kvm_msr_entry.size);
}

function encode(msrs: readonly Msr[]): Uint8Array<ArrayBuffer> {
  const list = new Uint8Array(kvm_msrs.size + msrs.length * kvm_msr_entry.size);
  new Struct(kvm_msrs, list.buffer).set("nmsrs", msrs.length);
  msrs.forEach(([index, value], i) => entry(list, i).set("index", index).set("data", value));
  return list;
}
