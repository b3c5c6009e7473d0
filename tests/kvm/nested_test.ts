// Where /dev/kvm does not work: the kvm tests in a VM under QEMU, whose emulation of SVM makes one that does.

import { assertEquals, assertMatch } from "@std/assert";
import kvm from "../../plugins/kvm/engine.ts";
import { runNested, testCommand } from "./nested.ts";
import { output } from "./host.ts";

const QEMU = "qemu-system-x86_64";

/** Why there is nothing to do. */
async function reason(): Promise<string | undefined> {
  if ((await kvm.probe()).usable) return "KVM works here: its tests run without a VM around them";
  if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") {
    return "the VM shares this host's Deno: wanted Linux on x86-64";
  }
  if (await output(QEMU, "--version") === undefined) return `${QEMU} is not installed (package qemu-system-x86)`;
  if (await output("apt-cache", "show", "linux-image-amd64") === undefined) {
    return "apt knows no package linux-image-amd64";
  }
}

const why = await reason();
if (why) console.log(`skipped: ${why}`);

Deno.test({
  name: "kvm: the engine works on a KVM in software",
  ignore: why !== undefined,
  async fn() {
    const command = [
      "deno run -A --no-check --no-npm $(deno run -qA tests/offline_std/map.ts) cli/main.ts engines",
      testCommand("tests/kvm/machine_test.ts tests/kvm/engine_suite_test.ts tests/kvm/linux_test.ts"),
    ].join(" && ");
    const { code, output } = await runNested(command, { seconds: 900 });
    if (code !== 0) console.log(output);
    assertEquals(code, 0);
    assertMatch(output, /^kvm +x86_64: usable: needs --allow-ffi, which ends Deno's sandbox$/m);
    assertMatch(output, /[1-9]\d* passed[^\n]*\| 0 failed/);
  },
});
