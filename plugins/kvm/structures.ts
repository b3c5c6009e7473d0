// The structures of <linux/kvm.h> for x86-64 that the engine uses, as tables: name, offset, width in bytes.

/** A field: its offset and its width in bytes; a third number is how many there are in a row. */
type Field = readonly [offset: number, width: 1 | 2 | 4 | 8, count?: number];

/** The layout of a structure. */
export interface Layout {
  /** Bytes. */
  readonly size: number;
  /** By the header's names; `outer_inner` for what lies in a structure within. */
  readonly fields: Readonly<Record<string, Field>>;
}

/** Tells the type checker the names of the fields. */
function layout<const L extends Layout>(given: L): L {
  return given;
}

/** The fields of a segment register. */
const SEGMENT = {
  base: [0, 8],
  limit: [8, 4],
  selector: [12, 2],
  type: [14, 1],
  present: [15, 1],
  dpl: [16, 1],
  db: [17, 1],
  s: [18, 1],
  l: [19, 1],
  g: [20, 1],
  avl: [21, 1],
  unusable: [22, 1],
} as const satisfies Layout["fields"];

/** One of them. */
export type SegmentField = keyof typeof SEGMENT;

/** The fields of a segment register that begins at an offset. */
function segment<const N extends string>(name: N, at: number): { readonly [F in `${N}_${SegmentField}`]: Field } {
  const fields = Object.entries(SEGMENT).map(([field, [offset, width]]) => [`${name}_${field}`, [at + offset, width]]);
  return Object.fromEntries(fields);
}

/** What RAM the guest has. */
export const kvm_userspace_memory_region = layout({
  size: 32,
  fields: {
    slot: [0, 4],
    flags: [4, 4],
    guest_phys_addr: [8, 8],
    memory_size: [16, 8],
    userspace_addr: [24, 8],
  },
});

/** A question for the pages that were written. */
export const kvm_dirty_log = layout({ size: 16, fields: { slot: [0, 4], dirty_bitmap: [8, 8] } });

/** How the 8254 is to be. */
export const kvm_pit_config = layout({ size: 64, fields: { flags: [0, 4] } });

/** A writable eventfd that raises an interrupt. */
export const kvm_irqfd = layout({ size: 32, fields: { fd: [0, 4], gsi: [4, 4], flags: [8, 4], resamplefd: [12, 4] } });

/** A store of the guest's that signals an eventfd. */
export const kvm_ioeventfd = layout({
  size: 64,
  fields: { datamatch: [0, 8], addr: [8, 8], len: [16, 4], fd: [20, 4], flags: [24, 4] },
});

/** General registers. */
export const kvm_regs = layout({
  size: 144,
  fields: {
    rax: [0, 8],
    rbx: [8, 8],
    rcx: [16, 8],
    rdx: [24, 8],
    rsi: [32, 8],
    rdi: [40, 8],
    rsp: [48, 8],
    rbp: [56, 8],
    r8: [64, 8],
    r9: [72, 8],
    r10: [80, 8],
    r11: [88, 8],
    r12: [96, 8],
    r13: [104, 8],
    r14: [112, 8],
    r15: [120, 8],
    rip: [128, 8],
    rflags: [136, 8],
  },
});

/** Special registers. */
export const kvm_sregs = layout({
  size: 312,
  fields: {
    ...segment("cs", 0),
    ...segment("ds", 24),
    ...segment("es", 48),
    ...segment("fs", 72),
    ...segment("gs", 96),
    ...segment("ss", 120),
    ...segment("tr", 144),
    ...segment("ldt", 168),
    gdt_base: [192, 8],
    gdt_limit: [200, 2],
    idt_base: [208, 8],
    idt_limit: [216, 2],
    cr0: [224, 8],
    cr2: [232, 8],
    cr3: [240, 8],
    cr4: [248, 8],
    cr8: [256, 8],
    efer: [264, 8],
    apic_base: [272, 8],
    interrupt_bitmap: [280, 8, 4],
  },
});

/** The registers of the floating-point and vector units, as XSAVE stores them. */
export const kvm_xsave = layout({ size: 4096, fields: { region: [0, 4, 1024] } });

/** A model-specific register in a list. */
export const kvm_msr_entry = layout({ size: 16, fields: { index: [0, 4], data: [8, 8] } });
/** The head of such a list. */
export const kvm_msrs = layout({ size: 8, fields: { nmsrs: [0, 4] } });
/** The head of a list of their numbers. */
export const kvm_msr_list = layout({ size: 4, fields: { nmsrs: [0, 4] } });
/** The clock that KVM offers to guests, in nanoseconds. */
export const kvm_clock_data = layout({ size: 48, fields: { clock: [0, 8], flags: [8, 4] } });

/** A leaf of CPUID in a list. */
export const kvm_cpuid_entry2 = layout({
  size: 40,
  fields: { function: [0, 4], index: [4, 4], flags: [8, 4], eax: [12, 4], ebx: [16, 4], ecx: [20, 4], edx: [24, 4] },
});
/** The head of such a list. */
export const kvm_cpuid2 = layout({ size: 8, fields: { nent: [0, 4] } });

/** The local APIC's page of registers. */
export const kvm_lapic_state = layout({ size: 1024, fields: { regs: [0, 1, 1024] } });

/** An interrupt controller: two 8259s and an I/O APIC, by number. */
export const kvm_irqchip = layout({ size: 520, fields: { chip_id: [0, 4], chip: [8, 1, 512] } });

/** The state of the 8254. */
export const kvm_pit_state2 = layout({
  size: 112,
  fields: {
    channel0_count_load_time: [16, 8],
    channel1_count_load_time: [40, 8],
    channel2_count_load_time: [64, 8],
    flags: [72, 4],
  },
});

/** Whether a CPU runs, is halted, or waits for its start. */
export const kvm_mp_state = layout({ size: 4, fields: { mp_state: [0, 4] } });

/** Exceptions and interrupts that are being delivered. */
export const kvm_vcpu_events = layout({
  size: 64,
  fields: {
    exception_injected: [0, 1],
    exception_nr: [1, 1],
    exception_has_error_code: [2, 1],
    exception_error_code: [4, 4],
    interrupt_injected: [8, 1],
    interrupt_nr: [9, 1],
    interrupt_soft: [10, 1],
    interrupt_shadow: [11, 1],
    nmi_injected: [12, 1],
    nmi_pending: [13, 1],
    nmi_masked: [14, 1],
    sipi_vector: [16, 4],
    flags: [20, 4],
  },
});

/** Debug registers. */
export const kvm_debugregs = layout({ size: 128, fields: { db: [0, 8, 4], dr6: [32, 8], dr7: [40, 8] } });

/** An extended control register in a list. */
export const kvm_xcr = layout({ size: 16, fields: { xcr: [0, 4], value: [8, 8] } });
/** Extended control registers. */
export const kvm_xcrs = layout({
  size: 392,
  fields: { nr_xcrs: [0, 4], flags: [4, 4], xcrs_xcr: [8, 4], xcrs_value: [16, 8] },
});

/** A question for a linear address's place in memory. */
export const kvm_translation = layout({
  size: 24,
  fields: { linear_address: [0, 8], physical_address: [8, 8], valid: [16, 1], writeable: [17, 1], usermode: [18, 1] },
});

/** What KVM_RUN shares with its caller. */
export const kvm_run = layout({
  size: 2352,
  fields: {
    request_interrupt_window: [0, 1],
    immediate_exit: [1, 1],
    exit_reason: [8, 4],
    ready_for_interrupt_injection: [12, 1],
    if_flag: [13, 1],
    flags: [14, 2],
    cr8: [16, 8],
    apic_base: [24, 8],
    hw_hardware_exit_reason: [32, 8],
    fail_entry_hardware_entry_failure_reason: [32, 8],
    fail_entry_cpu: [40, 4],
    io_direction: [32, 1],
    io_size: [33, 1],
    io_port: [34, 2],
    io_count: [36, 4],
    io_data_offset: [40, 8],
    mmio_phys_addr: [32, 8],
    mmio_data: [40, 1, 8],
    mmio_len: [48, 4],
    mmio_is_write: [52, 1],
    internal_suberror: [32, 4],
    internal_ndata: [36, 4],
    internal_data: [40, 8, 16],
    emulation_failure_flags: [40, 8],
    emulation_failure_insn_size: [48, 1],
    emulation_failure_insn_bytes: [49, 1, 15],
    system_event_type: [32, 4],
    system_event_ndata: [36, 4],
    system_event_data: [40, 8, 16],
  },
});

/** Where the fields of a structure lie, by name: for a view that is read at every exit. */
export function offsetsOf<L extends Layout>({ fields }: L): { readonly [F in keyof L["fields"]]: number } {
  return Object.fromEntries(Object.entries(fields).map(([name, [offset]]) => [name, offset])) as never;
}

/** All of them, by name: for a test against the header. */
export const STRUCTURES = {
  kvm_userspace_memory_region,
  kvm_dirty_log,
  kvm_pit_config,
  kvm_irqfd,
  kvm_ioeventfd,
  kvm_regs,
  kvm_sregs,
  kvm_xsave,
  kvm_msr_entry,
  kvm_msrs,
  kvm_msr_list,
  kvm_clock_data,
  kvm_cpuid_entry2,
  kvm_cpuid2,
  kvm_lapic_state,
  kvm_irqchip,
  kvm_pit_state2,
  kvm_mp_state,
  kvm_vcpu_events,
  kvm_debugregs,
  kvm_xcr,
  kvm_xcrs,
  kvm_translation,
  kvm_run,
} as const;

/** A structure, or a view of one that lies elsewhere; `at` is its place in `buffer`. */
export class Struct<L extends Layout> {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #fields: L["fields"];
  readonly #view: DataView;

  constructor(layout: L, buffer: ArrayBuffer = new ArrayBuffer(layout.size), at = 0) {
    this.#fields = layout.fields;
    this.bytes = new Uint8Array(buffer, at, layout.size);
    this.#view = new DataView(buffer, at, layout.size);
  }

  /** A field as a number, which is exact up to 2^53. */
  get(name: keyof L["fields"] & string, index = 0): number {
    const [offset, width] = this.#fields[name];
    switch (width) {
      case 1:
        return this.#view.getUint8(offset + index);
      case 2:
        return this.#view.getUint16(offset + 2 * index, true);
      case 4:
        return this.#view.getUint32(offset + 4 * index, true);
      default:
        return Number(this.#view.getBigUint64(offset + 8 * index, true));
    }
  }

  /** Changes a field. */
  set(name: keyof L["fields"] & string, value: number | bigint, index = 0): this {
    const [offset, width] = this.#fields[name];
    if (width === 8) this.#view.setBigUint64(offset + 8 * index, BigInt(value), true);
    else if (width === 4) this.#view.setUint32(offset + 4 * index, Number(value), true);
    else if (width === 2) this.#view.setUint16(offset + 2 * index, Number(value), true);
    else this.#view.setUint8(offset + index, Number(value));
    return this;
  }

  /** A field as it is, whatever its width. */
  getBig(name: keyof L["fields"] & string, index = 0): bigint {
    const [offset, width] = this.#fields[name];
    return width === 8 ? this.#view.getBigUint64(offset + 8 * index, true) : BigInt(this.get(name, index));
  }
}
