// What CPUID tells the guest: what KVM supports, with each vCPU's own number (Intel SDM volume 2, CPUID).

import { KVM } from "./api.ts";
import { ERRNO, type Libc, SystemError } from "./libc.ts";
import { kvm_cpuid2, kvm_cpuid_entry2, Struct } from "./structures.ts";

/** A leaf of CPUID. */
export type Leaf = Struct<typeof kvm_cpuid_entry2>;

const HEAD = kvm_cpuid2.size;
const ENTRY = kvm_cpuid_entry2.size;
/** Leaf 1. */
const ECX_TSC_DEADLINE = 1 << 24;
const ECX_HYPERVISOR = 1 << 31;
const EDX_HTT = 1 << 28;

/** The leaves that this host's KVM can give to guests. */
export function supportedLeaves(libc: Libc, kvm: number): Leaf[] {
  for (let room = 64;; room *= 2) {
    const list = new Uint8Array(HEAD + room * ENTRY);
    const head = new Struct(kvm_cpuid2, list.buffer).set("nent", room);
    try {
      libc.ioctl("asking for CPUID", kvm, KVM.GET_SUPPORTED_CPUID, list);
    } catch (error) {
      if (error instanceof SystemError && error.errno === ERRNO.E2BIG && room < 4096) continue;
      throw error;
    }
    return Array.from(
      { length: head.get("nent") },
      (_, i) => new Struct(kvm_cpuid_entry2, list.buffer, HEAD + i * ENTRY),
    );
  }
}

/** The leaves for one vCPU of several. */
export function leavesOf(vcpu: number, vcpus: number, supported: readonly Leaf[], deadlineTimer: boolean): Leaf[] {
  return supported.map((given) => {
    const leaf = new Struct(kvm_cpuid_entry2);
    leaf.bytes.set(given.bytes);
    switch (leaf.get("function")) {
      case 1:
        leaf.set("ebx", (leaf.get("ebx") & 0xffff | vcpus << 16 | vcpu << 24) >>> 0);
        leaf.set("ecx", (leaf.get("ecx") | ECX_HYPERVISOR | (deadlineTimer ? ECX_TSC_DEADLINE : 0)) >>> 0);
        if (vcpus > 1) leaf.set("edx", (leaf.get("edx") | EDX_HTT) >>> 0);
        break;
      case 0xb:
      case 0x1f:
        leaf.set("edx", vcpu);
    }
    return leaf;
  });
}

/** Gives a vCPU its leaves. */
export function setLeaves(libc: Libc, fd: number, leaves: readonly Leaf[]): void {
  const list = new Uint8Array(HEAD + leaves.length * ENTRY);
  new Struct(kvm_cpuid2, list.buffer).set("nent", leaves.length);
  leaves.forEach(({ bytes }, i) => list.set(bytes, HEAD + i * ENTRY));
  libc.ioctl("setting CPUID", fd, KVM.SET_CPUID2, list);
}
