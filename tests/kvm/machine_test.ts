// The kvm engine in whole machines: accesses, interrupts, control, the dirty log, errors. Flat binaries are the guests.

import { assert, assertEquals, assertGreater, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { IRQ, OFF, PORTS, POWER_PORT, RECORDER, REG, rig, until } from "./machine.ts";
import type { Machine } from "../../mod.ts";
import { flat, withoutKvm } from "./x86.ts";

const ignore = await withoutKvm() !== undefined;
const test = (name: string, fn: () => Promise<void>): void => Deno.test({ name: `kvm: ${name}`, ignore, fn });
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

const { memory: MEMORY, port: PORT } = RECORDER;

test("ports are reached in all widths, one by one or in a string", async () => {
  await using guest = await rig(
    "real",
    `
    mov dx, ${PORT + 4}
    in al, dx
    out dx, al
    in ax, dx
    out dx, ax
    in eax, dx
    out dx, eax
    mov dx, ${PORT + 8}
    mov si, offset text
    mov cx, 3
    cld
    rep outsb
    mov di, 0x6000
    mov cx, 2
    rep insw
    mov ax, [0x6002]
    mov dx, ${PORT}
    out dx, ax
    mov dx, 0x3000
    in eax, dx
    mov dx, ${PORT}
    out dx, eax
    ${OFF}
    text: .ascii "abc"`,
  );
  assertEquals(await guest.run(), [
    ...["r1 4", "w1 4 4", "r2 4", "w2 4 404", "r4 4", "w4 4 4040404"],
    ...["w1 8 61", "w1 8 62", "w1 8 63", "r2 8", "r2 8", "w2 0 808"],
    "w4 0 ffffffff", // nobody is at port 0x3000
  ]);
});

test("registers in memory are reached in all widths, eight bytes as two of four", async () => {
  await using guest = await rig(
    "long",
    `
    mov rbx, ${MEMORY}
    mov al, [rbx + 4]
    mov [rbx + 4], al
    mov ax, [rbx + 6]
    mov [rbx + 6], ax
    mov eax, [rbx + 8]
    mov [rbx + 8], eax
    mov rax, [rbx + 16]
    mov [rbx + 16], rax
    mov eax, [rbx + 0x800000] # nobody is there
    mov [rbx], eax
    ${OFF}`,
  );
  assertEquals(await guest.run(), [
    ...["r1 4", "w1 4 4", "r2 6", "w2 6 606", "r4 8", "w4 8 8080808"],
    ...["r4 10", "r4 14", "w4 10 10101010", "w4 14 14141414"],
    "w4 0 ffffffff",
  ]);
});

/** The first 8259 with its interrupts from 0x20 on, all but the recorder's masked, and a handler for that one. */
const INTERRUPTS = `
  mov word ptr [${(0x20 + IRQ) * 4}], offset handler
  mov word ptr [${(0x20 + IRQ) * 4 + 2}], 0
  mov al, 0x11
  out 0x20, al
  mov al, 0x20
  out 0x21, al
  mov al, 4
  out 0x21, al
  mov al, 1
  out 0x21, al
  mov al, ${0xff & ~(1 << IRQ)}
  out 0x21, al
  xor ecx, ecx`;
/** The interrupt of the recorder at a port comes in so many milliseconds. */
const raise = (milliseconds: number, port: number = PORT): string => `
    mov dx, ${port + REG.RAISE}
    mov al, ${milliseconds}
    out dx, al`;
/** Waits for so many interrupts, tells how many there were, and ends. */
const busyUntil = (interrupts: number): string => `
    sti
    busy: cmp cl, ${interrupts}
    jb busy
    mov dx, ${PORT}
    mov al, cl
    out dx, al
    ${OFF}`;
/** Lowers the line of the recorder at a port. */
const lower = (port: number): string => `
    mov dx, ${port + REG.LOWER}
    out dx, al`;
/** Counts an interrupt, and does something about its cause. */
const handler = (work: string): string => `
    handler:
    push ax
    push dx
    inc ecx
    ${work}
    mov al, 0x20
    out 0x20, al
    pop dx
    pop ax
    iret`;
const HANDLER = handler(lower(PORT));

test("an interrupt ends HLT", async () => {
  await using guest = await rig(
    "real",
    `${INTERRUPTS}
    ${raise(3)}
    again: sti
    hlt
    cli
    mov dx, ${PORT}
    mov al, cl
    out dx, al
    cmp cl, 3
    je done
    ${raise(1)}
    jmp again
    done:
    ${OFF}
    ${HANDLER}`,
  );
  const seen = (await guest.run()).filter((line) => line.startsWith("w1 0"));
  assertEquals(seen, ["w1 0 1", "w1 0 2", "w1 0 3"]);
});

test("a line that stays up interrupts again", async () => {
  await using guest = await rig(
    "real",
    `${INTERRUPTS}
    ${raise(0)}
    ${busyUntil(3)}
    ${handler(`cmp cl, 3\njb leave\n${lower(PORT)}\nleave:`)}`,
  );
  assertEquals((await guest.run()).at(-1), "w1 0 3");
});

test("two devices share an input: one that rises while the other is up is not lost", async () => {
  const second = PORT + 0x100;
  const firstTime = `${raise(0, second)}\n${lower(PORT)}\njmp leave`;
  await using guest = await rig(
    "real",
    `${INTERRUPTS}
    ${raise(0)}
    ${busyUntil(2)}
    ${handler(`cmp cl, 1\njne other\n${firstTime}\nother: ${lower(second)}\nleave:`)}`,
    { devices: [{ use: "recorder", name: "other", at: PORTS + second, irq: IRQ }] },
  );
  assertEquals((await guest.run()).at(-1), "w1 0 2");
});

test("an interrupt breaks into busy code", async () => {
  await using guest = await rig(
    "real",
    `${INTERRUPTS}
    ${raise(5)}
    ${busyUntil(1)}
    ${HANDLER}`,
  );
  assertEquals((await guest.run()).slice(-2), [`w1 ${REG.LOWER.toString(16)} 5`, "w1 0 1"]);
});

/** Counts at 0x6000 for ever. */
const COUNTER = `
  xor eax, eax
  again: inc eax
  mov [0x6000], eax
  jmp again`;

/** Guests that a machine has to be stopped in, each at something else. */
const STATES: Readonly<Record<string, string>> = {
  "busy code": COUNTER,
  "HLT that nothing ends": "cli\nhlt",
  "accesses without an end": `mov dx, ${PORT}\nagain: in al, dx\njmp again`,
};

for (const [state, source] of Object.entries(STATES)) {
  test(`pause, resume, reset, power off and dispose stop a guest in ${state}`, async () => {
    const guest = await rig("real", source, { cpus: 2 });
    try {
      const { machine } = guest;
      let run = machine.run();
      for (let i = 0; i < 3; i++) {
        await pause(3 * i);
        await machine.pause();
        assertEquals(machine.status, "paused");
        machine.resume();
      }
      await machine.reset();
      assertEquals(machine.status, "running");
      await pause(3);
      machine.powerOff(3);
      assertEquals(await run, { code: 3 });
      await machine.reset();
      run = machine.run();
      await pause(3);
      await Promise.all([
        guest[Symbol.asyncDispose](),
        assertRejects(() => run, Error, "was disposed"),
      ]);
    } finally {
      await guest[Symbol.asyncDispose]();
    }
  });
}

/** What the open files of this process are. */
function openFiles(): string[] {
  return [...Deno.readDirSync("/proc/self/fd")].flatMap(({ name }) => {
    try {
      return [Deno.readLinkSync(`/proc/self/fd/${name}`)];
    } catch {
      return []; // the folder itself, closed by now
    }
  });
}

test("a machine that is disposed leaves no file open, at whatever moment", async () => {
  const moments: Readonly<Record<string, (machine: Machine) => Promise<unknown>>> = {
    "before it ran": () => Promise.resolve(),
    "while it runs": (machine) => (machine.run().catch(() => {}), pause(5)),
    "while it pauses": async (machine) => {
      machine.run().catch(() => {});
      await pause(3);
      machine.pause().catch(() => {});
    },
    "while it resets": async (machine) => {
      machine.run().catch(() => {});
      await pause(3);
      machine.reset().catch(() => {});
    },
  };
  let before = Infinity;
  for (let round = 0; round < 2; round++) {
    for (const [moment, reach] of Object.entries(moments)) {
      const guest = await rig("real", COUNTER, { devices: [{ use: "virtio_rng" }] });
      await reach(guest.machine);
      await guest[Symbol.asyncDispose]();
      assertEquals(openFiles().filter((file) => file.includes("kvm")), [], moment);
      // Deno closes what a Worker of its has a little later.
      await until(`files of a machine that was disposed ${moment}`, () => openFiles().length <= before);
    }
    // The first ones open what the process keeps.
    before = openFiles().length;
  }
});

test("a machine lives in a Worker as well", async () => {
  const source = `
    import { createMachine } from ${JSON.stringify(new URL("../../mod.ts", import.meta.url).href)};
    onmessage = async ({ data: kernel }) => {
      try {
        await using machine = await createMachine({
          engine: "kvm",
          board: { use: "pc_micro", config: { flat: "real" } },
          memory: "16M",
          boot: { kernel },
          devices: [{ use: "serial_16550" }, { use: "syscon", at: ${PORTS + POWER_PORT} }],
        });
        postMessage(await machine.run());
      } catch (error) {
        postMessage(String(error));
      }
    };`;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  try {
    const said = new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
    worker.postMessage(await flat("real", OFF));
    assertEquals(await said, { code: 0 });
  } finally {
    worker.terminate();
    URL.revokeObjectURL(url);
  }
});

test("a paused guest does nothing, a resumed one goes on, a reset one begins anew", async () => {
  await using guest = await rig(
    "real",
    `mov dx, ${PORT}
    mov al, 1
    out dx, al
    again: mov dx, ${PORT + REG.MAILBOX}
    in al, dx
    jmp again`,
  );
  const { machine, recorder: { log } } = guest;
  const run = machine.run();
  const starts = () => log.filter((line) => line === "w1 0 1").length;
  await until("accesses", () => log.length > 20);
  await machine.pause();
  const paused = log.length;
  await pause(30);
  assertEquals(log.length, paused);
  machine.resume();
  await until("more accesses", () => log.length > paused + 20);
  assertEquals(starts(), 1);
  await machine.reset();
  await until("the second start", () => starts() === 2);
  machine.powerOff();
  await run;
});

test("a triple fault resets the machine", async () => {
  await using guest = await rig(
    "real",
    `mov dx, ${PORT + REG.MAILBOX}
    in al, dx
    test al, al
    jnz done
    lidt [none]
    int 3
    done:
    ${OFF}
    none: .word 0
    .long 0`,
  );
  const { recorder } = guest;
  recorder.touched = () => recorder.mailbox = recorder.log.length > 1 ? 1 : 0;
  assertEquals(await guest.run(), ["r1 40", "r1 40"]);
});

test("the dirty log has the guest's pages and the devices', and no other", async () => {
  // In real mode there are no page tables, in which the processor itself writes.
  await using guest = await rig(
    "real",
    `mov dx, ${PORT + REG.MAILBOX}
    again: in al, dx
    test al, al
    jz again
    mov bx, 0x2000
    mov ds, bx
    mov [0x0123], al
    mov [0x5ffe], eax # two pages
    mov dx, ${PORT + REG.DMA}
    mov eax, 0x40010
    out dx, eax
    mov dx, ${PORT}
    out dx, al
    wait: jmp wait`,
  );
  const { machine, recorder } = guest;
  const run = machine.run();
  await until("the guest", () => recorder.log.length > 3);
  assertEquals(machine.collectDirty().length, 16 * 256);
  assertEquals(machine.collectDirty(), []);
  recorder.mailbox = 7;
  await until("its stores", () => recorder.log.at(-1) === "w1 0 10");
  assertEquals(machine.collectDirty(), [0x20, 0x25, 0x26, 0x40]);
  assertEquals(machine.collectDirty(), []);
  machine.powerOff();
  await run;
});

test("code in ring 3 runs as fast as any program of the host", async () => {
  const loops = 100_000_000;
  // Pages that ring 3 may use (code, and the recorder's), descriptors for it, then a way down by IRETQ.
  await using guest = await rig(
    "long",
    `
    or dword ptr [0x9000], 4
    or dword ptr [0xa000], 4
    or dword ptr [0xa018], 4
    or dword ptr [0xb000], 4
    or dword ptr [${0xe000 + 8 * ((MEMORY - 0xc000_0000) >> 21)}], 4
    mov rax, cr3
    mov cr3, rax
    lgdt [pointer]
    push 0x23
    push 0x80000
    push 2
    push 0x1b
    lea rax, [user]
    push rax
    iretq
    user:
    mov rbx, ${MEMORY}
    mov ax, cs
    mov [rbx], al
    mov ecx, ${loops}
    again: dec ecx
    jnz again
    mov [rbx], al
    jmp $
    .align 8
    table: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00affb000000ffff, 0x00cff3000000ffff
    pointer: .word 39
    .quad table`,
  );
  const times: number[] = [];
  guest.recorder.touched = () => {
    if (times.push(performance.now()) === 2) guest.machine.powerOff();
  };
  assertEquals(await guest.run(), ["w1 0 1b", "w1 0 1b"]);
  const took = times[1] - times[0];

  // The same loop by WebAssembly: (func (param i32) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  const wasm = Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 1, 0x7f, 0, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0],
    ...[10, 16, 1, 14, 0, 3, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x0b],
  ]);
  const { f } = (await WebAssembly.instantiate(wasm)).instance.exports as { f: (loops: number) => void };
  for (let i = 0; i < 20; i++) f(100_000);
  const start = performance.now();
  f(loops);
  const host = performance.now() - start;
  console.log(`  ring 3: ${took.toFixed(0)} ms, WebAssembly: ${host.toFixed(0)} ms`);
  assert(took < 3 * host + 50, `${took} ms in ring 3, ${host} ms on the host`);
});

test("two vCPUs run at once, and their accesses do not mix", async () => {
  const each = 300;
  // The second starts in real mode at 0x8000, as the first tells its local APIC to have it.
  await using guest = await rig(
    "long",
    `
    lea rsi, [second]
    mov rdi, 0x8000
    mov ecx, 64
    rep movsb
    mov rbx, 0xfee00000
    mov dword ptr [rbx + 0xf0], 0x1ff
    mov dword ptr [rbx + 0x310], 0x1000000
    mov dword ptr [rbx + 0x300], 0x4500
    mov dword ptr [rbx + 0x310], 0x1000000
    mov dword ptr [rbx + 0x300], 0x4608
    mov rbx, ${MEMORY}
    mov ecx, ${each}
    again: mov eax, [rbx + 0x10]
    mov [rbx + 0x10], eax
    dec ecx
    jnz again
    wait: cmp dword ptr [0x6000], 0x55
    jne wait
    ${OFF}
    second:
    .code16
    mov cx, ${each}
    mov dx, ${PORT + 0x20}
    other: in al, dx
    out dx, al
    loop other
    mov dword ptr [0x6000], 0x55
    hlt`,
    { cpus: 2 },
  );
  const log = await guest.run();
  const count = (line: string) => log.filter((other) => other === line).length;
  assertEquals(["r4 10", "w4 10 10101010", "r1 20", "w1 20 20"].map(count), [each, each, each, each]);
  assertEquals(log.length, 4 * each);
  const first = log.slice(0, log.lastIndexOf("r1 20")).filter((line) => line === "r4 10").length;
  assertGreater(first, 1);
});

test("an exit that nobody handles is told with its reason, instruction and registers", async () => {
  // An access to a device's registers that KVM does not emulate, and code where there is no RAM.
  const guests = [
    {
      source: `mov rbp, 0x1234abcd\nmov rbx, ${MEMORY}\npaddd mm0, [rbx]\nhlt`,
      instruction: "0f fe 03 f4",
      rip: "100011",
    },
    { source: `mov rbp, 0x1234abcd\nmov rax, ${MEMORY}\njmp rax`, instruction: "outside of RAM", rip: "d1000000" },
  ];
  for (const { source, instruction, rip } of guests) {
    await using guest = await rig("long", source);
    const error = await assertRejects(() => guest.machine.run(), Error);
    assertMatch(
      error.message,
      /vCPU 0 can not go on: KVM left it with KVM_EXIT_INTERNAL_ERROR, suberror 1 \(emulation failed\); instruction /,
    );
    assertStringIncludes(error.message, `instruction ${instruction}`);
    assertMatch(error.message, new RegExp(`rbp 1234abcd.*rip ${rip}.*cr3 9000`));
    assertEquals(guest.machine.status, "failed");
  }
});

test("a machine's state can be hashed again and again, and its hash sees the guest go on", async () => {
  await using guest = await rig("real", COUNTER);
  const run = guest.machine.run();
  await pause(20);
  await guest.machine.pause();
  const first = await guest.machine.stateHash();
  assertEquals(await guest.machine.stateHash(), first);
  guest.machine.resume();
  await pause(20);
  assert(await guest.machine.stateHash() !== first);
  guest.machine.powerOff();
  await run;
});
