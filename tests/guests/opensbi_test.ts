// OpenSBI as firmware: it starts in M-mode at the reset vector, and hands Debian's kernel over to S-mode.

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { guestImage, LinuxGuest } from "../support/linux_guest.ts";

const FOLDER = "/usr/lib/riscv64-linux-gnu/opensbi/generic";
const image = (await guestImage())!;
const installed = await Deno.stat(FOLDER).then(() => true, () => false);
if (!installed) console.error(`OpenSBI is not tested here: there is no ${FOLDER} (package opensbi)`);
const ignore = !image || !installed;

Deno.test({
  name: "OpenSBI starts Debian's kernel on two harts, and powers off",
  ignore,
  async fn() {
    await using guest = await LinuxGuest.start({ image, bios: `${FOLDER}/fw_dynamic.bin`, cpus: 2 });
    const { shell } = guest;
    const greeting = await shell.ready();
    assertMatch(greeting, /OpenSBI v\d/);
    assertMatch(greeting, /Platform HART Count +: 2/);
    assertMatch(greeting, /Domain0 Next Mode +: S-mode/);

    assertEquals(await shell.get("nproc"), "2");
    // Implementation 1 of the SBI is OpenSBI.
    assertMatch(await shell.get("dmesg"), /SBI implementation ID=0x1 /);
    assertStringIncludes(await shell.get("cat /proc/cpuinfo"), "hart\t\t: 1");
    assertEquals(await guest.powerOff(), 0);
  },
});

Deno.test({
  name: "OpenSBI's fw_jump finds the kernel where it looks for it",
  ignore,
  async fn() {
    await using guest = await LinuxGuest.start({
      image,
      bios: `${FOLDER}/fw_jump.elf`,
      append: "earlycon=sbi ignore_loglevel",
    });
    assertMatch(await guest.shell.until("Linux version"), /OpenSBI v\d/);
  },
});
