// What runs test cases on bare metal, QEMU or ours: sets a hart up, enters the case, logs its traps, records its end (privileged specification 20240411).

import { assemble } from "../../plugins/riscv/assembler.ts";
import { SYSCON } from "../support/bare_guest.ts";

/** Physical addresses that cases and their host code agree on. */
export const AT = {
  ram: 0x8000_0000,
  /** A page of `ecall`: the S-mode trap handler, whose every entry is an exit to M-mode; at `SRET` an `sret`. */
  supervisor: 0x8000_2000,
  /** What the runtime keeps, apart from its code. */
  own: 0x8000_4000,
  /** Descriptors, register blocks, write lists, prologues and the cases' code. */
  cases: 0x8001_0000,
  /** Two pages of data, filled before a case and recorded after it. */
  data: 0x8080_0000,
  /** A page of `jr ra`, to be fetched through mappings. */
  returns: 0x8080_2000,
  /** Page tables, built and cleared by each case's list of writes. */
  tables: 0x8090_0000,
  records: 0x8100_0000,
} as const;
export const RAM_BYTES = 128 * 2 ** 20;
/** Records end here: above, a board may keep the device tree. */
export const RECORDS_END = AT.ram + RAM_BYTES - 8 * 2 ** 20;
export const DATA_BYTES = 0x2000;
const SRET = 0x800;
/** What stands at `AT.own`: the current descriptor, its traps, where the next one is logged; passes left; registers. */
export const OWN = { current: 0, passes: 24, saved: 32 } as const;
/** What cases may store to besides memory. */
export const MTIMECMP = 0x200_4000, MSIP = 0x200_0000;

/** A case's descriptor, in doublewords. */
export const DESCRIPTOR = ["record", "entry", "start", "end", "physical", "prologue", "registers", "writes", "count"]
  .concat(["logSize", "supervisor", "status", "seed"]);

/** CSRs at a known value before each case's own: what the case does not name. */
const BASELINE: readonly (readonly [csr: string, value: bigint])[] = [
  ["mie", 0n],
  ["mstatus", 0x6000n],
  ["medeleg", 0n],
  ["mideleg", 0n],
  ["mip", 0n],
  ["satp", 0n],
  // ADUE: QEMU knows no other way than hardware's.
  ["menvcfg", 1n << 61n],
  ["senvcfg", 0n],
  ["mcounteren", 0n],
  ["scounteren", 0n],
  ["sscratch", 0n],
  ["sepc", 0n],
  ["scause", 0n],
  ["stval", 0n],
  ["mcause", 0n],
  ["mtval", 0n],
  ["stimecmp", -1n],
  ["pmpcfg0", 0n],
  ["pmpcfg2", 0x1fn << 56n],
  ...Array.from({ length: 16 }, (_, i) => [`pmpaddr${i}`, i === 15 ? -1n : 0n] as const),
];

/** CSRs that a record holds, in order. */
export const RECORDED: readonly string[] = [
  ...["mstatus", "medeleg", "mideleg", "mie", "mip", "satp", "menvcfg", "senvcfg", "mcounteren", "scounteren"],
  ...["sscratch", "sepc", "scause", "stval", "stvec", "stimecmp", "pmpcfg0", "pmpcfg2"],
  ...Array.from({ length: 16 }, (_, i) => `pmpaddr${i}`),
];

/** Doublewords of one logged trap: 0 for one to M-mode or 1 to S-mode, then what the hart says of it. */
export const TRAP_WORDS = ["to", "cause", "epc", "tval", "status"] as const;

/** A record's parts, in doublewords from its start: x0 holds the number of traps. */
export const RECORD = { x: 0, f: 32, fcsr: 64, csrs: 65, data: 65 + RECORDED.length } as const;
const LOG = RECORD.data + DATA_BYTES / 8;

/** Doublewords of a record with room for `traps` and the values found at `writes` addresses. */
export function recordWords(traps: number, writes: number): number {
  return LOG + traps * TRAP_WORDS.length + writes;
}
export const RECORD_LOG = LOG;

const SAVED = Array.from({ length: 31 }, (_, i) => i + 1);
const constant = (value: bigint) => `li t0, ${BigInt.asIntN(64, value)}`;
const field = (name: string) => `8 * ${DESCRIPTOR.indexOf(name)}`;

/** Fills the data from the seed in t2. */
export const FILL = `
        li      t0, ${AT.data}
        li      t1, ${DATA_BYTES / 8}
        li      t3, 6364136223846793005
1:      mul     t2, t2, t3
        addi    t2, t2, 1442
        srli    t4, t2, 29
        xor     t4, t4, t2
        sd      t4, 0(t0)
        addi    t0, t0, 8
        addi    t1, t1, -1
        bnez    t1, 1b`;
/** What {@linkcode FILL} puts into a doubleword of the data. */
export function filled(seed: number, index: number): bigint {
  let value = BigInt(seed);
  for (let i = 0; i <= index; i++) value = BigInt.asUintN(64, value * 6364136223846793005n + 1442n);
  return value ^ value >> 29n;
}
/** Copies the data to t2, and leaves its end there. */
export const COPY = `
        li      t0, ${AT.data}
        li      t1, ${DATA_BYTES / 8}
1:      ld      t3, 0(t0)
        sd      t3, 0(t2)
        addi    t0, t0, 8
        addi    t2, t2, 8
        addi    t1, t1, -1
        bnez    t1, 1b`;

/**
 * The program: enters at its first word on every hart; descriptors stand at `AT.cases`, ended by a zero. It makes all
 * cases as often as it has passes, from the same state each time, and leaves the records of the last pass.
 */
const SOURCE = `
        csrr    t0, mhartid
1:      bnez    t0, 1b
        la      t0, trapped
        csrw    mtvec, t0
pass:   li      s11, ${AT.cases}
next:   ld      t0, 0(s11)
        bnez    t0, 1f
        li      t0, ${AT.own}
        ld      t1, ${OWN.passes}(t0)
        addi    t1, t1, -1
        sd      t1, ${OWN.passes}(t0)
        bgtz    t1, pass
        li      t0, ${SYSCON}
        li      t1, 0x5555
        sw      t1, 0(t0)
        j       .

        # ------------------------------------------------ before a case
1:      li      t0, ${AT.own}
        sc.d    zero, zero, (t0)        # no reservation is left
        sd      s11, 0(t0)
        sd      zero, 8(t0)             # traps
        ld      t1, ${field("record")}(s11)
        sd      zero, 0(t1)             # not ended
        li      t2, ${8 * LOG}
        add     t1, t1, t2
        sd      t1, 16(t0)              # where the next trap is logged
        ${BASELINE.map(([csr, value]) => `${constant(value)}; csrw ${csr}, t0`).join("\n        ")}
        li      t0, ${MTIMECMP}
        li      t1, -1
        sd      t1, 0(t0)
        li      t0, ${MSIP}
        sw      zero, 0(t0)
        ld      t0, ${field("supervisor")}(s11)
        csrw    stvec, t0

        ld      t2, ${field("seed")}(s11)
        ${FILL}

        ld      t0, ${field("writes")}(s11)
        ld      t1, ${field("count")}(s11)
1:      beqz    t1, 2f
        ld      t2, 0(t0)
        ld      t3, 8(t0)
        sd      t3, 0(t2)
        addi    t0, t0, 16
        addi    t1, t1, -1
        j       1b
2:      sfence.vma
        fence.i
        li      t0, ${AT.own + OWN.saved}
        csrw    mscratch, t0
        ld      t0, ${field("entry")}(s11)
        csrw    mepc, t0
        ld      s0, ${field("registers")}(s11)
        ${SAVED.concat(0).map((i) => `fld f${i}, ${256 + 8 * i}(s0)`).join("; ")}
        ld      t0, 512(s0)
        csrw    fcsr, t0
        ld      t0, ${field("prologue")}(s11)
        jalr    ra, 0(t0)
        ld      t0, ${field("status")}(s11)
        csrw    mstatus, t0
        ${SAVED.filter((i) => i !== 8).map((i) => `ld x${i}, ${8 * i}(s0)`).join("; ")}
        ld      s0, 64(s0)
        mret

        # ------------------------------------------------ a trap
        .balign 256
trapped:
        csrrw   sp, mscratch, sp
        ${SAVED.filter((i) => i !== 2).map((i) => `sd x${i}, ${8 * i}(sp)`).join("; ")}
        csrr    t0, mscratch
        sd      t0, 16(sp)
        csrw    mscratch, sp
        li      s10, ${AT.own}
        ld      s11, 0(s10)
        csrr    s0, mcause
        csrr    s1, mepc
        csrr    s2, mtval
        csrr    s3, mstatus
        li      s4, 0
        # An environment call from the supervisor's page is the handler of a trap to S-mode.
        li      t0, 9
        bne     s0, t0, 1f
        ld      t1, ${field("supervisor")}(s11)
        sub     t0, s1, t1
        li      t1, ${SRET}
        bgeu    t0, t1, 1f
        li      s4, 1
        mv      s5, t0                  # a vector's offset, as a part of the status
        csrr    s0, scause
        csrr    s1, sepc
        csrr    s2, stval
        csrr    s3, mstatus
        slli    s5, s5, 48
        xor     s3, s3, s5
1:      ld      t0, 8(s10)
        ld      t1, ${field("logSize")}(s11)
        bgeu    t0, t1, done
        addi    t0, t0, 1
        sd      t0, 8(s10)
        ld      t1, 16(s10)
        sd      s4, 0(t1)
        sd      s0, 8(t1)
        sd      s1, 16(t1)
        sd      s2, 24(t1)
        sd      s3, 32(t1)
        addi    t1, t1, ${8 * TRAP_WORDS.length}
        sd      t1, 16(s10)

        bgez    s0, 1f
        li      t0, 1                   # an interrupt: never again
        sll     t0, t0, s0
        csrc    mie, t0
        j       resume
1:      ld      t2, ${field("start")}(s11)
        ld      t3, ${field("end")}(s11)
        beq     s1, t3, done
        ld      t0, ${field("supervisor")}(s11)
        li      t1, ${SRET}
        add     t0, t0, t1
        beq     s1, t0, done            # the handler's own SRET
        bltu    s1, t2, 2f
        bgeu    s1, t3, 2f
        sub     t0, s1, t2              # behind the instruction
        ld      t1, ${field("physical")}(s11)
        add     t0, t0, t1
        lhu     t0, 0(t0)
        andi    t0, t0, 3
        addi    t0, t0, -3
        seqz    t0, t0
        slli    t0, t0, 1
        addi    t0, t0, 2
        add     s1, s1, t0
        bgtu    s1, t3, done
        j       resume
2:      ld      s1, 8(sp)               # a jump to somewhere: back to its caller, if it had one
        bltu    s1, t2, done
        bgtu    s1, t3, done
        andi    t0, s1, 1
        bnez    t0, done
resume: beqz    s4, 1f
        csrw    sepc, s1                # by the supervisor's SRET
        li      t0, 0x1800
        csrc    mstatus, t0
        li      t0, 0x800
        csrs    mstatus, t0
        ld      s1, ${field("supervisor")}(s11)
        li      t0, ${SRET}
        add     s1, s1, t0
1:      csrw    mepc, s1
        ${SAVED.filter((i) => i !== 2).map((i) => `ld x${i}, ${8 * i}(sp)`).join("; ")}
        ld      sp, 16(sp)
        mret

        # ------------------------------------------------ after a case
done:   ld      s5, ${field("record")}(s11)
        ld      t0, 8(s10)
        sd      t0, 0(s5)
        ${SAVED.map((i) => `ld t0, ${8 * i}(sp); sd t0, ${8 * i}(s5)`).join("; ")}
        ${RECORDED.map((csr, i) => `csrr t0, ${csr}; sd t0, ${8 * (RECORD.csrs + i)}(s5)`).join("\n        ")}
        li      t0, 0x6000
        csrs    mstatus, t0
        csrr    t0, fcsr
        sd      t0, ${8 * RECORD.fcsr}(s5)
        ${SAVED.concat(0).map((i) => `fsd f${i}, ${8 * (RECORD.f + i)}(s5)`).join("; ")}
        csrw    satp, zero
        csrw    pmpcfg0, zero           # an entry that matches a part of an access denies it to M-mode, too
        csrw    pmpcfg2, zero

        addi    t2, s5, ${8 * RECORD.data}
        ${COPY}

        ld      t0, ${field("logSize")}(s11)
        li      t1, ${8 * TRAP_WORDS.length}
        mul     t0, t0, t1
        add     t2, t2, t0              # behind the log
        ld      t0, ${field("writes")}(s11)
        ld      t1, ${field("count")}(s11)
1:      beqz    t1, 2f
        ld      t3, 0(t0)
        ld      t4, 0(t3)
        sd      t4, 0(t2)
        sd      zero, 0(t3)
        addi    t0, t0, 16
        addi    t2, t2, 8
        addi    t1, t1, -1
        j       1b
2:      addi    s11, s11, ${8 * DESCRIPTOR.length}
        j       next
`;

/** The runtime's bytes, to be loaded at `AT.ram`. */
export function runtime(): Uint8Array<ArrayBuffer> {
  const program = assemble(SOURCE, { base: AT.ram });
  if (AT.ram + program.length > AT.supervisor) {
    throw new RangeError(`The runtime has ${program.length} bytes: too many`);
  }
  const bytes = new Uint8Array(AT.supervisor + 4096 - AT.ram);
  bytes.set(program);
  const page = new DataView(bytes.buffer, AT.supervisor - AT.ram);
  for (let at = 0; at < 4096; at += 4) page.setUint32(at, at === SRET ? 0x1020_0073 : 0x73, true);
  return bytes;
}
