// A stopped VM's state as plain data: interrupt controllers, timer, and each vCPU's registers.

import type { Plain } from "../../core/plugin.ts";
import { KVM, MSRS } from "./api.ts";
import type { Libc } from "./libc.ts";
import {
  kvm_debugregs,
  kvm_irqchip,
  kvm_lapic_state,
  kvm_mp_state,
  kvm_msr_entry,
  kvm_msrs,
  kvm_pit_state2,
  kvm_regs,
  kvm_sregs,
  kvm_vcpu_events,
  kvm_xcrs,
  kvm_xsave,
  type Layout,
  Struct,
} from "./structures.ts";

/** A part of the state that one pair of ioctls moves. */
interface Part {
  readonly layout: Layout;
  readonly get: number;
  readonly set: number;
}

/** A vCPU's, in the order in which they are set. */
const VCPU_PARTS: Readonly<Record<string, Part>> = {
  sregs: { layout: kvm_sregs, get: KVM.GET_SREGS, set: KVM.SET_SREGS },
  regs: { layout: kvm_regs, get: KVM.GET_REGS, set: KVM.SET_REGS },
  xsave: { layout: kvm_xsave, get: KVM.GET_XSAVE, set: KVM.SET_XSAVE },
  xcrs: { layout: kvm_xcrs, get: KVM.GET_XCRS, set: KVM.SET_XCRS },
  lapic: { layout: kvm_lapic_state, get: KVM.GET_LAPIC, set: KVM.SET_LAPIC },
  mp: { layout: kvm_mp_state, get: KVM.GET_MP_STATE, set: KVM.SET_MP_STATE },
  debug: { layout: kvm_debugregs, get: KVM.GET_DEBUGREGS, set: KVM.SET_DEBUGREGS },
  events: { layout: kvm_vcpu_events, get: KVM.GET_VCPU_EVENTS, set: KVM.SET_VCPU_EVENTS },
};

/** The two 8259s and the I/O APIC. */
const CHIPS = [0, 1, 2] as const;

/** The state of a VM whose vCPUs are stopped. */
export function saveState(libc: Libc, vm: number, vcpus: readonly number[]): Plain {
  const chips = CHIPS.map((id) => get(libc, vm, KVM.GET_IRQCHIP, new Struct(kvm_irqchip).set("chip_id", id)));
  const pit = new Struct(kvm_pit_state2);
  get(libc, vm, KVM.GET_PIT2, pit);
  // By the host's clock; setting the state takes the time anew.
  for (const channel of [0, 1, 2] as const) pit.set(`channel${channel}_count_load_time`, 0);
  return { chips, pit: pit.bytes, vcpus: vcpus.map((fd) => saveVcpu(libc, fd)) };
}

/** Gives a VM of the same shape what {@linkcode saveState} gave. */
export function loadState(libc: Libc, vm: number, vcpus: readonly number[], state: Plain): void {
  const saved = state as { chips: Uint8Array[]; pit: Uint8Array; vcpus: Record<string, Uint8Array>[] };
  for (const chip of saved.chips) {
    libc.ioctl("setting an interrupt controller", vm, KVM.SET_IRQCHIP, Uint8Array.from(chip));
  }
  libc.ioctl("setting the timer", vm, KVM.SET_PIT2, Uint8Array.from(saved.pit));
  vcpus.forEach((fd, i) => loadVcpu(libc, fd, saved.vcpus[i]));
}

function saveVcpu(libc: Libc, fd: number): Record<string, Uint8Array> {
  const parts = Object.entries(VCPU_PARTS).map(([name, part]) =>
    [name, get(libc, fd, part.get, new Struct(part.layout))] as const
  );
  return { ...Object.fromEntries(parts), msrs: get(libc, fd, KVM.GET_MSRS, { bytes: msrList() }) };
}

function loadVcpu(libc: Libc, fd: number, saved: Record<string, Uint8Array>): void {
  for (const [name, part] of Object.entries(VCPU_PARTS)) {
    libc.ioctl(`setting a vCPU's ${name}`, fd, part.set, Uint8Array.from(saved[name]));
    if (name === "xcrs") libc.ioctl("setting MSRs", fd, KVM.SET_MSRS, Uint8Array.from(saved.msrs));
  }
}

function get(libc: Libc, fd: number, request: number, into: { bytes: Uint8Array<ArrayBuffer> }): Uint8Array {
  libc.ioctl("reading state", fd, request, into.bytes);
  return into.bytes;
}

function msrList(): Uint8Array<ArrayBuffer> {
  const list = new Uint8Array(kvm_msrs.size + MSRS.length * kvm_msr_entry.size);
  new Struct(kvm_msrs, list.buffer).set("nmsrs", MSRS.length);
  MSRS.forEach((index, i) =>
    new Struct(kvm_msr_entry, list.buffer, kvm_msrs.size + i * kvm_msr_entry.size).set("index", index)
  );
  return list;
}
