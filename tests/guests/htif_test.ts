// RISC-V test programs, which end and print by their `tohost` word: through the API and through the command line.

import { assertEquals } from "@std/assert";
import { elfProgram, play } from "../support/bare_guest.ts";
import { denovisor } from "../support/denovisor.ts";

const BASE = 0x8000_0000, TOHOST = BASE + 0x1000, FROMHOST = TOHOST + 64;

/** A test program: `s0` points to `tohost`, `s1` to `fromhost`. */
function program(source: string): Promise<Uint8Array<ArrayBuffer>> {
  return elfProgram(`li s0, ${TOHOST}; li s1, ${FROMHOST}; ${source}`, {
    symbols: { tohost: TOHOST, fromhost: FROMHOST },
  });
}

/** Ends as riscv-tests' environment does: two words, over and over. */
const exit = (code: number): string => `li a0, ${2 * code + 1}; 9: sw a0, 0(s0); sw zero, 4(s0); j 9b`;

/** Prints by device 1, command 1; waits after each byte until it is taken. */
const HELLO = `
        la      s2, text
        li      s3, 1 << 56 | 1 << 48
1:      lbu     t0, 0(s2)
        beqz    t0, 4f
        or      t0, t0, s3
        sd      t0, 0(s0)
2:      ld      t0, 0(s0)
        bnez    t0, 2b
3:      ld      t0, 0(s1)
        beqz    t0, 3b
        sd      zero, 0(s1)
        addi    s2, s2, 1
        j       1b
4:      ${exit(3)}
text:   .asciz  "Hello, host\\n"
`;

for (const code of [0, 1, 42, 256]) {
  Deno.test(`a test program's code ${code} is what run gives, as a kernel and as a BIOS`, async () => {
    const file = await program(exit(code));
    assertEquals((await play({ boot: { kernel: file } })).code, code);
    assertEquals((await play({ boot: { bios: file } })).code, code);
  });
}

Deno.test("what a test program prints appears on the machine's console", async () => {
  const { code, said } = await play({ boot: { kernel: await program(HELLO) } });
  assertEquals([code, said], [3, "Hello, host\n"]);
});

Deno.test("the proxied system calls write and exit work, and a write of what is no memory fails", async () => {
  const { code, said } = await play({
    boot: {
      kernel: await program(`
        la      s2, write
        call    ask
        la      t0, wild
        ld      s3, 0(s2)               # bytes written
        la      s2, wild
        call    ask
        ld      s4, 0(s2)               # -1
        add     s3, s3, s4
        la      s2, exit
        sd      s3, 8(s2)
ask:    sd      s2, 0(s0)
1:      ld      t0, 0(s0)
        bnez    t0, 1b
        ret
        .balign 64
write:  .dword  64, 1, text, 5
wild:   .dword  64, 1, 0x1000, 1 << 40
exit:   .dword  93, 0, 0, 0
text:   .ascii  "write"
      `),
    },
  });
  assertEquals([code, said], [4, "write"]);
});

Deno.test("denovisor run prints what a test program prints and exits with its code", async () => {
  const path = await Deno.makeTempFile({ suffix: ".elf" });
  try {
    await Deno.writeFile(path, await program(HELLO));
    assertEquals(await denovisor(["run", "--kernel", path]), { code: 3, out: "Hello, host\n", err: "" });
    await Deno.writeFile(path, await program(exit(256)));
    assertEquals((await denovisor(["run", "--kernel", path])).code, 1, "no failure becomes a success");
  } finally {
    await Deno.remove(path);
  }
});
