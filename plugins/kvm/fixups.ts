// What `kvm_pvm`, a KVM without help of the processor, can not do, and what is done about it. Applied only there.

import { EXIT, KVM } from "./api.ts";
import { failedBytes } from "./exits.ts";
import type { Libc } from "./libc.ts";
import type { Mode, Registers } from "./registers.ts";
import { type kvm_cpuid_entry2, type kvm_run, kvm_vcpu_events, Struct } from "./structures.ts";
import type { HostRam } from "./vm.ts";

/** What the engine tells people who use it. */
export const PVM_LIMITS = "by kvm_pvm: kernels run slowly, 64-bit Linux programs not at all";

/** The module's folder, where it is loaded. */
export const PVM_PATH = "/sys/module/kvm_pvm";

/** Words for the command line of Linux: its own checks of what is masked here. */
export const PVM_WORDS = "noxsave clearcpuid=151,158";

/** In which modes guests may be started there: all of protected mode without paging would be emulated. */
export const PVM_MODES: readonly Mode[] = ["real", "long"];

/** Instructions that it does not emulate: by first byte, their length and the exception that they mean, if any. */
export const PVM_INSTRUCTIONS: Readonly<Record<number, { length: number; exception?: number }>> = {
  0xcc: { length: 1, exception: 3 }, // INT3: #BP, which reports the instruction behind
  0x9b: { length: 1 }, // FWAIT: nothing to wait for
};

type Leaf = Struct<typeof kvm_cpuid_entry2>;

/**
 * Leaves of CPUID that say what it does not emulate: CMPXCHG16B, POPCNT and XSAVE in leaf 1, all from leaf 7 on, and
 * KVM's own, since a hypercall of a kernel does not come back.
 */
export function maskForPvm(leaves: readonly Leaf[]): Leaf[] {
  const CX16_POPCNT_XSAVE_OSXSAVE = 1 << 13 | 1 << 23 | 1 << 26 | 1 << 27;
  return leaves.filter((leaf) => {
    const number = leaf.get("function");
    if (number >= 7 && number <= 0x3fff_ffff) return false;
    if (number >= 0x4000_0000 && number <= 0x4fff_ffff) return false;
    if (number === 0) leaf.set("eax", 6);
    if (number === 1) leaf.set("ecx", (leaf.get("ecx") & ~CX16_POPCNT_XSAVE_OSXSAVE) >>> 0);
    return true;
  });
}

/** Does what an instruction of the table means, after an exit for it. Whether there was one. */
export function fixUp(
  libc: Libc,
  fd: number,
  run: Struct<typeof kvm_run>,
  registers: Registers,
  ram: HostRam,
): boolean {
  if (run.get("exit_reason") !== EXIT.INTERNAL_ERROR || run.get("internal_suberror") !== 1) return false;
  const [first] = failedBytes(run) ?? registers.instruction(ram);
  const known = PVM_INSTRUCTIONS[first];
  if (!known) return false;
  const regs = registers.general;
  registers.general = regs.set("rip", regs.getBig("rip") + BigInt(known.length));
  if (known.exception !== undefined) {
    const events = new Struct(kvm_vcpu_events);
    libc.ioctl("reading events", fd, KVM.GET_VCPU_EVENTS, events.bytes);
    events.set("exception_injected", 1).set("exception_nr", known.exception).set("exception_has_error_code", 0);
    libc.ioctl("injecting an exception", fd, KVM.SET_VCPU_EVENTS, events.bytes);
  }
  return true;
}
