// The assembler against GNU as, and what it says of text that is no program.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { assemble } from "../../../plugins/riscv/assembler.ts";
import { INSTRUCTIONS } from "../../../plugins/riscv/instructions.ts";
import { assembleByGnu, hasGnu } from "../../support/gnu.ts";
import { disassemble } from "../../support/riscv_disassembler.ts";

const BASE = 0x8000_0000;

function wordsOf(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i, true));
}

/** The instructions and data words of a program. */
function words(source: string, base = BASE): number[] {
  return wordsOf(assemble(source, { base }));
}

/** Instructions as text without pseudo-instructions. */
function texts(words: readonly number[]): string[] {
  return words.map((bits, i) => disassemble(bits, BigInt(BASE + 4 * i)));
}

const PROGRAM = String.raw`
  # every pseudo-instruction and directive, in what could be a program
        .equ UART, 0x10000000
        .equ LSR, UART + 5
        .globl _start
_start: la      sp, stack_end
        csrr    a0, mhartid
        csrw    mtvec, a0
        csrs    mie, a0
        csrc    mie, a0
        csrwi   mstatus, 8
        csrsi   mstatus, 1 << 3
        csrci   mstatus, 31
        csrrw   a0, mscratch, sp
        csrrwi  a0, 0x7c0, 3
        rdcycle t0; rdtime t1; rdinstret t2
        fence
        fence   rw, w
        fence.tso
        fence.i
        sfence.vma
        sfence.vma a0
        sfence.vma a0, a1
again:  mv      a1, a0          # another comment
        not     a1, a0
        neg     a1, a0
        negw    a1, a0
        sext.w  a1, a0
        zext.b  a1, a0
        zext.w  a1, a0
        zext.h  a1, a0
        seqz    a1, a0
        snez    a1, a0
        sltz    a1, a0
        sgtz    a1, a0
        sgt     a1, a0, a2
        sgtu    a1, a0, a2
1:      beqz    a0, 1b
        bnez    a0, 1f
        blez    a0, again
        bgez    a0, again
        bltz    a0, again
        bgtz    a0, again
1:      bgt     a0, a1, 1b
        ble     a0, a1, again
        bgtu    a0, a1, 2f
        bleu    a0, a1, 2f
        j       again
        jal     again
        jal     t0, again
2:      jr      t0
        jalr    t0
        jalr    t0, t1, -8
        jalr    t0, 8(t1)
        jalr    zero, (ra)
        nop
        lui     a0, 0xfffff
        auipc   a0, 0
        ld      a0, (sp)
        sd      fp, -8*2(sp)
        lbu     x10, 'A'(x2)
        slli    a0, a0, 63
        addi    a0, a0, ~0x7ff
        lr.w    a0, (a1)
        sc.d.rl a0, a1, (a2)
        amoadd.w.aqrl a0, a1, (a2)
        fld     fa0, 8(sp)
        fsw     ft0, 0(sp)
        fadd.s  fa0, fa1, fa2
        fadd.d  fa0, fa1, fa2, rtz
        fmadd.s fa0, fa1, fa2, fa3
        fcvt.w.s a0, fa0, rtz
        fcvt.d.w fa0, a0
        fmv.s   fa0, fa1
        fneg.d  fa0, fa1
        fabs.d  fa0, fa1
        mret
        ret
message: .asciz "a # b, c; \"d\" // \\ é\n", ""
        .ascii  "x", "\t\r\0"
        .byte   1, -1, 255, 'z', '\n', 0, 0, 0
        .align  2
        .half   1, 0xffff
        .word   LSR, -1, 2
        .balign 8
        .dword  message, . - _start, 0xffffffffffffffff
        .zero   16
stack_end:
        .word   stack_end - message, 2*3+4, (2+3)*4 % 7, 1<<4|1, -7/2
`;

Deno.test({
  name: "assemble makes the bytes that GNU as makes",
  ignore: !await hasGnu("as"),
  async fn() {
    const wanted = await assembleByGnu(PROGRAM, BASE);
    const made = assemble(PROGRAM, { base: BASE });
    // The linker fills up to the section's alignment.
    assert(wanted.length - made.length < 8);
    assertEquals(texts(wordsOf(made)), texts(wordsOf(wanted.slice(0, made.length))));
  },
});

const CONSTANTS = [
  0n,
  1n,
  -1n,
  2047n,
  2048n,
  -2048n,
  -2049n,
  4096n,
  0x7fff_f800n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  -0x8000_0000n,
  -0x8000_0001n,
  0x1_0000_0000n,
  0x1234_5678_9abc_def0n,
  0x7fff_ffff_ffff_ffffn,
  -0x8000_0000_0000_0000n,
  0xffff_ffff_ffff_fffen,
  0x8000_0000_0000_0000n,
];

Deno.test({
  name: "li takes the instructions that GNU as takes",
  ignore: !await hasGnu("as"),
  async fn() {
    const source = CONSTANTS.map((value) => `li a0, ${value}\n`).join("");
    // To load 1 before it is shifted, GNU as takes an addiw where addi does the same.
    const wanted = texts(wordsOf(await assembleByGnu(source, BASE))).map((text) =>
      text.replace("addiw a0,zero", "addi a0,zero")
    );
    assertEquals(texts(words(source)), wanted);
  },
});

/** What `li` leaves in its register. */
function loaded(value: bigint): bigint {
  let register = 0n;
  for (const bits of words(`li a0, ${value}`)) {
    const { row, fields } = INSTRUCTIONS.decode(bits)!;
    const immediate = BigInt(fields.imm);
    const source = fields.rs1 === 0 ? 0n : register;
    register = {
      lui: immediate,
      addi: source + immediate,
      addiw: BigInt.asIntN(32, source + immediate),
      slli: source << immediate,
    }[row.name]!;
    register = BigInt.asIntN(64, register);
  }
  return register;
}

Deno.test("li loads any number of 64 bits", () => {
  for (const value of CONSTANTS) assertEquals(loaded(value), BigInt.asIntN(64, value), `li ${value}`);
  for (let bit = 0n; bit < 64n; bit++) {
    for (const value of [1n << bit, (1n << bit) - 1n, -(1n << bit), 0x9e37_79b9_7f4a_7c15n >> bit]) {
      assertEquals(loaded(value), BigInt.asIntN(64, value), `li ${value}`);
    }
  }
});

Deno.test("assemble takes back every instruction that disassemble writes", () => {
  INSTRUCTIONS.rows.forEach((row, i) => {
    if (row.name === "fence.i") return; // its operands are reserved, and not written
    const { mask, match, fields } = INSTRUCTIONS.encodings[i];
    for (const any of [0, 0xffff_ffff, 0x5a5a_5a5a, 0x1234_5678]) {
      let bits = ((any & ~mask) | match) >>> 0;
      if (fields.has("rm")) bits = (bits & ~0x7000 | 0x1000) >>> 0;
      if (row.name === "fence") bits = (match | any & 0x0ff0_0000 | 0x0110_0000) >>> 0;
      const text = disassemble(bits, BigInt(BASE));
      assertEquals(words(text), [bits], text);
    }
  });
});

Deno.test("assemble puts labels, local labels and . where they stand", () => {
  assertEquals(texts(words("a: b: j c\n1: j 1b\nj 1f\n1: c: j .\n j . - 4")), [
    "jal zero,0x8000000c",
    "jal zero,0x80000004",
    "jal zero,0x8000000c",
    "jal zero,0x8000000c",
    "jal zero,0x8000000c",
  ]);
});

Deno.test("assemble aligns with zeroes, and with nops where an instruction has room", () => {
  assertEquals([...assemble(".byte 1; .balign 8; .byte 2; .align 1; .half 3")], [
    1,
    0,
    0,
    0,
    0x13,
    0,
    0,
    0,
    2,
    0,
    3,
    0,
  ]);
});

Deno.test("assemble finds addresses from any base", () => {
  assertEquals(words("la a0, data\n data: .dword data", 0x1000).slice(2), [0x1008, 0]);
  assertEquals(texts(words(".zero 0x1000\nhere: la a0, . - 0x1000"))[0x400], "auipc a0,0xfffff");
});

Deno.test("assemble reads quotes, escapes and comment signs as they are meant", () => {
  const text = (source: string) => new TextDecoder().decode(assemble(source));
  assertEquals(text(`.ascii "a;b", ",#//" // "c"`), "a;b,#//");
  assertEquals(text(String.raw`.asciz "\"\\\n"; .byte '#', ';', '\'' # '`), "\"\\\n\0#;'");
});

Deno.test("assemble says in one sentence what is wrong, and where", () => {
  const errors: Record<string, string> = {
    "addq a0, a1, a2": "line 1: wanted an instruction, got addq",
    "\n\n addi a0, a1, 2048": "line 3: wanted as imm a number from -2048 to 2047, got 2048",
    "slli a0, a1, 64": "line 1: wanted as uimm a number from 0 to 63, got 64",
    "lui a0, -1": "line 1: wanted as upper a number from 0 to 1048575, got -1",
    "add a0, a1": "line 1: wanted add with 3 operands (rd, rs1, rs2), got 2",
    "mv a0": "line 1: wanted mv with 2 operands, got 1",
    "mv a0, fa0": "line 1: wanted an integer register, got fa0",
    "fadd.s fa0, a0, fa1": "line 1: wanted a floating-point register, got a0",
    "fadd.s fa0, fa0, fa1, up": "line 1: wanted a rounding mode such as rtz, got up",
    "add a0,,a1": "line 1: wanted an integer register, got nothing",
    "ld a0, sp": "line 1: wanted an address such as 8(sp), got sp",
    "lr.w a0, 4(a1)": "line 1: wanted as offset a number from 0 to 0, got 4",
    "csrr a0, mistake": "line 1: wanted a symbol that is defined, got mistake",
    "fence wr, w": "line 1: wanted letters of iorw in this order, got wr",
    "j nowhere": "line 1: wanted a symbol that is defined, got nowhere",
    "beq a0, a1, . + 4096": "line 1: wanted as distance to the target an even number from -4096 to 4095, got 4096",
    "j 1f": "line 1: wanted a symbol that is defined, got 1f",
    "li a0, later\nlater:": "line 1: wanted a symbol that is defined, got later",
    "li a0, 1 << 64": "line 1: wanted to shift by 0 to 63, got 64",
    "li a0, 3 +": "line 1: wanted a number or a symbol, got nothing",
    "li a0, 3 4": "line 1: wanted a number or a symbol, got 4 in 3 4",
    "li a0, (3": "line 1: wanted a ) in (3",
    "li a0, 1 / 0": "line 1: wanted a divisor that is not zero",
    "a:\na:": "line 2: wanted a new name, got a, which is defined already",
    ".section .data": "line 1: wanted one of the directives .byte",
    ".byte 256": "line 1: wanted a number of 1 bytes, got 256",
    ".ascii hello": "line 1: wanted a text in double quotes, got hello",
    '.ascii "hello': 'line 1: wanted a text in double quotes, got "hello',
    '.ascii "\\q"': "line 1: wanted one of",
    ".zero 1 << 40": "line 1: wanted a number from 0 to 268435456, got 1099511627776",
    "la a0, far\n.equ far, 1 << 40": "line 1: wanted a value or a distance of 32 bits",
  };
  for (const [source, message] of Object.entries(errors)) {
    assertThrows(() => assemble(source), SyntaxError, `Cannot assemble ${message}`);
  }
  assertThrows(() => assemble("nop", { base: -4 }), RangeError, "wanted a base address that is a whole number, got -4");
});
