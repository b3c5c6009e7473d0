// A stopped VM's state as plain data: interrupt controllers, timer, and each vCPU's registers.

import type { Plain } from "../../core/plugin.ts";
import { KVM, LISTED_MSRS, MSR_TSC, MSR_TSC_DEADLINE, MSRS } from "./api.ts";
import type { Libc } from "./libc.ts";
import { listedMsrs, type Msr, readMsrs, setMsrs } from "./msrs.ts";
import {
  kvm_clock_data,
  kvm_debugregs,
  kvm_irqchip,
  kvm_lapic_state,
  kvm_mp_state,
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

/** What is asked for its state. */
export interface Stateful {
  /** The file of the VM; its vCPUs are stopped. */
  readonly vm: number;
  /** The files of its vCPUs. */
  readonly vcpus: readonly number[];
  /** The model-specific registers that {@linkcode stateMsrs} gave. */
  readonly msrs: readonly number[];
}

/** What goes on while vCPUs are stopped: KVM's clock for guests, in nanoseconds, and each time-stamp counter. */
export interface Clocks {
  readonly clock: bigint;
  readonly counters: readonly bigint[];
}

interface Saved {
  readonly chips: readonly Uint8Array[];
  readonly pit: Uint8Array;
  readonly clocks: Clocks;
  readonly vcpus: readonly { readonly parts: Readonly<Record<string, Uint8Array>>; readonly msrs: readonly Msr[] }[];
}

/** The registers that belong to a state on this host; the deadline comes last, as it is a time of the other clocks. */
export function stateMsrs(libc: Libc, kvm: number): number[] {
  const listed = listedMsrs(libc, kvm);
  return [...MSRS, ...[...LISTED_MSRS, MSR_TSC_DEADLINE].filter((index) => listed.has(index))];
}

/** What the clocks say now. */
export function readClocks(libc: Libc, { vm, vcpus }: Stateful): Clocks {
  const clock = new Struct(kvm_clock_data);
  get(libc, vm, KVM.GET_CLOCK, clock);
  return { clock: clock.getBig("clock"), counters: vcpus.map((fd) => readMsrs(libc, fd, [MSR_TSC])[0][1]) };
}

/** The state of a VM at the time of its `clocks`. */
export function saveState(libc: Libc, { vm, vcpus, msrs }: Stateful, clocks: Clocks): Plain {
  const chips = CHIPS.map((id) => get(libc, vm, KVM.GET_IRQCHIP, new Struct(kvm_irqchip).set("chip_id", id)));
  const pit = new Struct(kvm_pit_state2);
  get(libc, vm, KVM.GET_PIT2, pit);
  // By the host's clock; setting the state takes the time anew.
  for (const channel of [0, 1, 2] as const) pit.set(`channel${channel}_count_load_time`, 0);
  const saved: Saved = {
    chips,
    pit: pit.bytes,
    clocks,
    vcpus: vcpus.map((fd) => {
      const parts = Object.entries(VCPU_PARTS).map(([name, part]) =>
        [name, get(libc, fd, part.get, new Struct(part.layout))] as const
      );
      return { parts: Object.fromEntries(parts), msrs: readMsrs(libc, fd, msrs) };
    }),
  };
  return saved as unknown as Plain;
}

/** Gives a VM of the same shape what {@linkcode saveState} gave, and says what its clocks are then. */
export function loadState(libc: Libc, { vm, vcpus }: Stateful, state: Plain): Clocks {
  const saved = state as unknown as Saved;
  for (const chip of saved.chips) {
    libc.ioctl("setting an interrupt controller", vm, KVM.SET_IRQCHIP, Uint8Array.from(chip));
  }
  libc.ioctl("setting the timer", vm, KVM.SET_PIT2, Uint8Array.from(saved.pit));
  const { clock, counters } = saved.clocks;
  libc.ioctl("setting the clock", vm, KVM.SET_CLOCK, new Struct(kvm_clock_data).set("clock", clock).bytes);
  vcpus.forEach((fd, i) => {
    const { parts, msrs } = saved.vcpus[i];
    for (const [name, { set }] of Object.entries(VCPU_PARTS)) {
      libc.ioctl(`setting a vCPU's ${name}`, fd, set, Uint8Array.from(parts[name]));
      // The local APIC's mode decides what a deadline is.
      if (name === "lapic") setMsrs(libc, fd, [[MSR_TSC, counters[i]], ...msrs]);
    }
  });
  return saved.clocks;
}

function get(libc: Libc, fd: number, request: number, into: { bytes: Uint8Array<ArrayBuffer> }): Uint8Array {
  libc.ioctl("reading state", fd, request, into.bytes);
  return into.bytes;
}
