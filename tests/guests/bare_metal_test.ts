// Guests of a page, in M-mode and in S-mode over the SBI: interrupts of every kind, harts, resets and ends.

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { assembleRiscv } from "../../mod.ts";
import { CLINT, elfProgram, finish, play, PLIC, PRINT, sbi, UART } from "../support/bare_guest.ts";

const PASS = 0x5555, FAIL = 0x3333, RESET = 0x7777;

/** In M-mode: greets, takes three timer interrupts from the clint, ends by the system controller. */
const ticker = (end: number): string => `
        csrr    t0, misa                # M-mode's alone
        la      t0, on_trap
        csrw    mtvec, t0
        la      a0, greeting
        call    print
        li      s0, 3
        li      s1, ${CLINT}
        call    set_timer
        li      t0, 1 << 7              # mie.MTIE
        csrs    mie, t0
        csrsi   mstatus, 8              # mstatus.MIE
1:      wfi
        j       1b

done:   ${finish(end)}

set_timer:
        li      t0, 0xbff8              # MTIME
        add     t0, t0, s1
        ld      t0, 0(t0)
        li      t1, 10000               # a millisecond
        add     t0, t0, t1
        li      t1, 0x4000              # MTIMECMP of hart 0
        add     t1, t1, s1
        sd      t0, 0(t1)
        ret

        .balign 4
on_trap:
        csrr    t0, mcause
        li      t1, 1 << 63 | 7
        bne     t0, t1, wrong
        la      a0, tick
        call    print
        addi    s0, s0, -1
        beqz    s0, done
        call    set_timer
        mret

wrong:  ${finish(99 << 16 | FAIL)}
${PRINT}
greeting: .asciz "Hello from M-mode\\n"
tick:   .asciz "tick\\n"
`;
const TICKED = "Hello from M-mode\ntick\ntick\ntick\n";

for (const [value, code] of [[PASS, 0], [7 << 16 | FAIL, 7], [FAIL, 1], [0x100 << 16 | FAIL, 256]]) {
  Deno.test(`a flat BIOS takes timer interrupts, stores 0x${value.toString(16)} to syscon and ends with code ${code}`, async () => {
    const bios = await assembleRiscv(ticker(value));
    const ending = await play({ boot: { bios } });
    assertEquals([ending.code, ending.said], [code, TICKED]);
  });
}

Deno.test("an ELF BIOS runs where it is linked, from its entry on", async () => {
  const base = 0x8010_0000;
  const bios = await elfProgram(`.word 0, 0; ${ticker(PASS)}`, { base, entry: base + 8 });
  const { code, said } = await play({ boot: { bios } });
  assertEquals([code, said], [0, TICKED]);
});

Deno.test("all harts enter a BIOS, and wake one another by the clint's software interrupts", async () => {
  const bios = await assembleRiscv(`
        li      t0, 1 << 3              # mie.MSIE
        csrw    mie, t0
        li      s1, ${CLINT}            # MSIP of hart 0
        slli    t0, a0, 2
        add     s2, s1, t0              # MSIP of this hart
        beqz    a0, 2f
1:      wfi
        csrr    t0, mip
        andi    t0, t0, 1 << 3
        beqz    t0, 1b
        sw      zero, 0(s2)
2:      addi    t0, a0, '0'
        li      t1, ${UART}
        sb      t0, 0(t1)
        li      t0, 1
        sw      t0, 4(s2)               # the next hart's
        li      t0, 2
        beq     a0, t0, 4f
3:      wfi
        j       3b
4:      ${finish(PASS)}
  `);
  const { code, said } = await play({ cpus: 3, boot: { bios } });
  assertEquals([code, said], [0, "012"]);
});

/** S-mode's trap handler, and `sleep`: waits for an interrupt, whose number is in `s0` then. */
const SLEEP = `
        .balign 4
on_trap:
        csrr    s0, scause
        bgez    s0, failed
        slli    s0, s0, 1
        srli    s0, s0, 1
        li      t0, -1
        csrw    stimecmp, t0
        csrci   sip, 2                  # SSIP
        la      t0, 2f
        csrw    sepc, t0
        li      t0, 1 << 5              # sstatus.SPIE: interrupts are off again behind sret
        csrc    sstatus, t0
        sret
sleep:  csrsi   sstatus, 2              # SIE
1:      wfi
        j       1b
2:      ret
failed: ${sbi("SRST", 0, 0, 1)}
`;
const PUT_INTERRUPT = `addi a0, s0, '0'; li a6, 2; li a7, 0x4442434e; ecall`;

Deno.test("an S-mode kernel has the SBI's console, timer, harts, interrupts between them, and shutdown", async () => {
  const kernel = await assembleRiscv(`
        ${sbi("DBCN", 0, 6, "greeting", 0)}
        li      t0, 6
        bnez    a0, failed
        bne     a1, t0, failed
        ${sbi(1, 0, 0x21)}              # legacy: "!"
        la      t0, on_trap
        csrw    stvec, t0
        li      t0, 1 << 5 | 1 << 1     # sie.STIE, SSIE
        csrw    sie, t0

        # A timer interrupt by the SBI, then one by Sstc.
        rdtime  a0
        li      t0, 10000
        add     a0, a0, t0
        li      a6, 0
        li      a7, 0x54494d45
        ecall
        call    sleep
        ${PUT_INTERRUPT}
        rdtime  t0
        li      t1, 10000
        add     t0, t0, t1
        csrw    stimecmp, t0
        call    sleep
        ${PUT_INTERRUPT}

        # The second hart: stopped, started, woken, stopped.
        ${sbi("HSM", 2, 1)}
        li      t0, 1
        bne     a1, t0, failed
        ${sbi("HSM", 0, 1, "second", 0x5a)}
        bnez    a0, failed
        la      s1, ready
1:      lw      t0, 0(s1)
        beqz    t0, 1b
        ${sbi("HSM", 2, 1)}
        bnez    a1, failed
        ${sbi("sPI", 0, 2, 0)}
        bnez    a0, failed
2:      ${sbi("HSM", 2, 1)}
        beqz    a1, 2b
        ${sbi("HSM", 0, 2, "second", 0)} # there is no hart 2
        beqz    a0, failed
        ${sbi("DBCN", 2, 0x2e)}         # "."
        ${sbi("SRST", 0, 0, 0)}

second: li      t0, 1
        bne     a0, t0, failed
        li      t0, 0x5a
        bne     a1, t0, failed
        la      t0, on_trap
        csrw    stvec, t0
        csrwi   sie, 1 << 1             # SSIE
        ${sbi("DBCN", 2, 0x32)}         # "2"
        la      t0, ready
        li      t1, 1
        sw      t1, 0(t0)
        call    sleep
        ${PUT_INTERRUPT}
        ${sbi("HSM", 1)}
        j       failed
${SLEEP}
        .balign 4
ready:  .word   0
greeting: .ascii "S-mode"
  `);
  const { code, said } = await play({ cpus: 2, boot: { kernel } });
  assertEquals([code, said], [0, "S-mode!5521."]);
});

Deno.test("a kernel that shuts down because it failed ends with code 1", async () => {
  assertEquals((await play({ boot: { kernel: await assembleRiscv(sbi("SRST", 0, 0, 1)) } })).code, 1);
});

Deno.test("SBI's cold and warm resets and syscon's boot the kernel again, with memory as it was loaded", async () => {
  const kernel = await assembleRiscv(`
        la      t0, boots
        lw      t1, 0(t0)
        addi    t1, t1, 1
        sw      t1, 0(t0)
        addi    t1, t1, '0'
        li      s0, ${UART}
        sb      t1, 0(s0)
        li      t1, '?'
        sb      t1, 0(s0)
1:      lbu     t0, 5(s0)               # LSR
        andi    t0, t0, 1
        beqz    t0, 1b
        lbu     s1, 0(s0)
        li      t0, 'c'
        beq     s1, t0, cold
        li      t0, 'w'
        beq     s1, t0, warm
        li      t0, 's'
        beq     s1, t0, syscon
        ${sbi("SRST", 0, 0, 0)}
cold:   ${sbi("SRST", 0, 1, 0)}
warm:   ${sbi("SRST", 0, 2, 0)}
syscon: ${finish(RESET)}
        .balign 4
boots:  .word   0
  `);
  const { code, said } = await play({ boot: { kernel }, typed: ["c", "w", "s", "q"] });
  assertEquals([code, said], [0, "1?1?1?1?"]);
});

Deno.test("the serial port's receive interrupt reaches S-mode through the PLIC", async () => {
  const kernel = await assembleRiscv(`
        .equ    SERIAL_IRQ, 10
        la      t0, on_receive
        csrw    stvec, t0
        li      s0, ${UART}
        li      s1, ${PLIC}
        li      t1, 1
        sw      t1, 4 * SERIAL_IRQ(s1)  # its priority
        li      t0, ${PLIC + 0x2080}    # enabled for hart 0's S-mode
        li      t2, 1 << SERIAL_IRQ
        sw      t2, 0(t0)
        li      s1, ${PLIC + 0x20_1000} # threshold, and behind it claim and complete
        sw      zero, 0(s1)
        sb      t1, 1(s0)               # IER: received data
        li      t0, 1 << 9              # sie.SEIE
        csrw    sie, t0
        csrsi   sstatus, 2
        li      t0, '?'
        sb      t0, 0(s0)
1:      wfi
        j       1b

        .balign 4
on_receive:
        csrr    t0, scause
        li      t1, 1 << 63 | 9
        bne     t0, t1, wrong
        lw      s2, 4(s1)               # claim
        li      t1, SERIAL_IRQ
        bne     s2, t1, wrong
        lw      t1, 4(s1)               # nothing else is to be claimed
        bnez    t1, wrong
        lbu     s3, 0(s0)
        sb      s3, 0(s0)
        sw      s2, 4(s1)               # complete
        li      t0, 'q'
        beq     s3, t0, quit
        li      t0, '?'
        sb      t0, 0(s0)
        sret
quit:   ${finish(PASS)}
wrong:  ${finish(9 << 16 | FAIL)}
  `);
  const { code, said } = await play({ boot: { kernel }, typed: ["a", "b", "q"] });
  assertEquals([code, said], [0, "?a?b?q"]);
});

Deno.test("by the instruction clock a program runs the same to the bit, whatever the quantum", async () => {
  const bios = await assembleRiscv(ticker(PASS));
  const run = (quantum?: number) => play({ boot: { bios }, clock: "instructions", quantum });
  const first = await run();
  assert(first.instructions > 0);
  assertEquals(await run(), first);
  assertEquals(await run(97), first);
  const other = await play({ boot: { bios: await assembleRiscv(ticker(FAIL)) }, clock: "instructions" });
  assertNotEquals(other.hash, first.hash);
});
