// Numbers of KVM's interface, from <linux/kvm.h>: ioctls, capabilities, exit reasons and flags.

/** The version of the interface, which has been the same since Linux 2.6.22. */
export const API_VERSION = 12;

/** As the macros _IO, _IOR, _IOW and _IOWR of <asm-generic/ioctl.h> make them. */
const TYPE = 0xae;
const io = (nr: number): number => TYPE << 8 | nr;
const ior = (nr: number, size: number): number => (2 << 30 | size << 16 | TYPE << 8 | nr) >>> 0;
const iow = (nr: number, size: number): number => (1 << 30 | size << 16 | TYPE << 8 | nr) >>> 0;
const iowr = (nr: number, size: number): number => (3 << 30 | size << 16 | TYPE << 8 | nr) >>> 0;

/** The ioctls of /dev/kvm, of a VM and of a vCPU. */
export const KVM = {
  GET_API_VERSION: io(0x00),
  CREATE_VM: io(0x01),
  GET_MSR_INDEX_LIST: iowr(0x02, 4),
  CHECK_EXTENSION: io(0x03),
  GET_VCPU_MMAP_SIZE: io(0x04),
  GET_SUPPORTED_CPUID: iowr(0x05, 8),
  CREATE_VCPU: io(0x41),
  GET_DIRTY_LOG: iow(0x42, 16),
  SET_USER_MEMORY_REGION: iow(0x46, 32),
  SET_TSS_ADDR: io(0x47),
  SET_IDENTITY_MAP_ADDR: iow(0x48, 8),
  CREATE_IRQCHIP: io(0x60),
  GET_IRQCHIP: iowr(0x62, 520),
  SET_IRQCHIP: ior(0x63, 520),
  IRQFD: iow(0x76, 32),
  CREATE_PIT2: iow(0x77, 64),
  SET_CLOCK: iow(0x7b, 48),
  GET_CLOCK: ior(0x7c, 48),
  IOEVENTFD: iow(0x79, 64),
  RUN: io(0x80),
  GET_REGS: ior(0x81, 144),
  SET_REGS: iow(0x82, 144),
  GET_SREGS: ior(0x83, 312),
  SET_SREGS: iow(0x84, 312),
  TRANSLATE: iowr(0x85, 24),
  GET_MSRS: iowr(0x88, 8),
  SET_MSRS: iow(0x89, 8),
  GET_LAPIC: ior(0x8e, 1024),
  SET_LAPIC: iow(0x8f, 1024),
  SET_CPUID2: iow(0x90, 8),
  GET_PIT2: ior(0x9f, 112),
  SET_PIT2: iow(0xa0, 112),
  GET_MP_STATE: ior(0x98, 4),
  SET_MP_STATE: iow(0x99, 4),
  GET_VCPU_EVENTS: ior(0x9f, 64),
  SET_VCPU_EVENTS: iow(0xa0, 64),
  GET_DEBUGREGS: ior(0xa1, 128),
  SET_DEBUGREGS: iow(0xa2, 128),
  GET_XSAVE: ior(0xa4, 4096),
  SET_XSAVE: iow(0xa5, 4096),
  GET_XCRS: ior(0xa6, 392),
  SET_XCRS: iow(0xa7, 392),
} as const;

/** Capabilities that the engine can not do without. */
export const CAPABILITIES = {
  KVM_CAP_IRQCHIP: 0,
  KVM_CAP_USER_MEMORY: 3,
  KVM_CAP_SET_TSS_ADDR: 4,
  KVM_CAP_EXT_CPUID: 7,
  KVM_CAP_MP_STATE: 14,
  KVM_CAP_IRQFD: 32,
  KVM_CAP_PIT2: 33,
  KVM_CAP_IOEVENTFD: 36,
  KVM_CAP_SET_IDENTITY_MAP_ADDR: 37,
  KVM_CAP_VCPU_EVENTS: 41,
  KVM_CAP_IRQFD_RESAMPLE: 82,
  KVM_CAP_XCRS: 56,
  KVM_CAP_IMMEDIATE_EXIT: 136,
} as const;

/** A capability that is made use of where it is there. */
export const CAP_TSC_DEADLINE_TIMER = 72;

/** Why KVM_RUN came back. */
export const EXIT = {
  UNKNOWN: 0,
  EXCEPTION: 1,
  IO: 2,
  HYPERCALL: 3,
  DEBUG: 4,
  HLT: 5,
  MMIO: 6,
  IRQ_WINDOW_OPEN: 7,
  SHUTDOWN: 8,
  FAIL_ENTRY: 9,
  INTR: 10,
  SET_TPR: 11,
  TPR_ACCESS: 12,
  NMI: 16,
  INTERNAL_ERROR: 17,
  SYSTEM_EVENT: 24,
  IOAPIC_EOI: 26,
  HYPERV: 27,
  X86_RDMSR: 29,
  X86_WRMSR: 30,
  DIRTY_RING_FULL: 31,
  X86_BUS_LOCK: 33,
  NOTIFY: 37,
} as const;

/** Suberrors of `EXIT.INTERNAL_ERROR`, in order from 1. */
export const SUBERROR = ["emulation failed", "simultaneous exceptions", "event delivery", "unexpected exit"] as const;
/** Set in `emulation_failure_flags` where the instruction's bytes are there. */
export const EMULATION_HAS_BYTES = 1;

/** Types of `EXIT.SYSTEM_EVENT`. */
export const SYSTEM_EVENT = { SHUTDOWN: 1, RESET: 2, CRASH: 3 } as const;

/** Flags. */
export const IO_OUT = 1;
export const MEM_LOG_DIRTY_PAGES = 1;
export const IOEVENTFD_DATAMATCH = 1;
export const IOEVENTFD_PIO = 2;
export const IRQFD_RESAMPLE = 2;
export const PIT_SPEAKER_DUMMY = 1;
export const MP_STATE = { RUNNABLE: 0, UNINITIALIZED: 1, HALTED: 3 } as const;

const range = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i);

/** The model-specific registers that belong to a vCPU's state and that every KVM for x86-64 has. */
export const MSRS: readonly number[] = [
  0x174, // IA32_SYSENTER_CS, _ESP, _EIP
  0x175,
  0x176,
  0x1a0, // IA32_MISC_ENABLE
  0x277, // IA32_PAT
  ...range(0x200, 16), // IA32_MTRR_PHYSBASE0 to _PHYSMASK7
  0x250, // IA32_MTRR_FIX64K_00000, FIX16K_80000, FIX16K_A0000, FIX4K_C0000 to _F8000
  0x258,
  0x259,
  ...range(0x268, 8),
  0x2ff, // IA32_MTRR_DEF_TYPE
  0xc000_0081, // IA32_STAR, LSTAR, CSTAR, FMASK
  0xc000_0082,
  0xc000_0083,
  0xc000_0084,
  0xc000_0102, // IA32_KERNEL_GS_BASE
  0xc000_0103, // IA32_TSC_AUX
];
/** More of them, where KVM lists them. */
export const LISTED_MSRS: readonly number[] = [
  0x3b, // IA32_TSC_ADJUST
  0x48, // IA32_SPEC_CTRL
  0xda0, // IA32_XSS
  ...range(0x4b56_4d00, 6), // KVM's own: clocks, page faults, steal time, ends of interrupts, polling
];
/** IA32_TIME_STAMP_COUNTER and IA32_TSC_DEADLINE, the local APIC's time by that counter. */
export const MSR_TSC = 0x10;
export const MSR_TSC_DEADLINE = 0x6e0;
