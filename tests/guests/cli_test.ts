// `denovisor run --image`, fed from a pipe: what is typed is answered, and the disk is the host's file.

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { denovisor } from "../support/denovisor.ts";
import { guestImage } from "../support/linux_guest.ts";

Deno.test({
  name: "run boots an image whose console is a pipe, writes its disk and powers off with code 0",
  ignore: !await guestImage(),
  async fn() {
    const disk = await Deno.makeTempFile();
    try {
      await Deno.truncate(disk, 1 << 20);
      const { code, out, err } = await denovisor(
        ["run", "--image", "debian-13", "--append", "console=ttyS0 quiet", "--disk", disk, "--net", "hub:lan"],
        { input: "echo $((6 * 7)) | dd of=/dev/vda conv=fsync\nls /sys/class/net\npoweroff\n" },
      );
      assertEquals({ code, err }, { code: 0, err: "" });
      assertMatch(out, /denovisor: Linux \S+ on riscv64, 1 CPU/);
      assertStringIncludes(out, "eth0");
      assertEquals(new TextDecoder().decode((await Deno.readFile(disk)).subarray(0, 3)), "42\n");
    } finally {
      await Deno.remove(disk);
    }
  },
});

Deno.test({
  name: "dtb prints the device tree of the machine that run would boot",
  ignore: !await guestImage(),
  async fn() {
    const { code, out } = await denovisor(["dtb", "--image", "debian-13", "--cpus", "2", "--net", "hub:lan"]);
    assertEquals(code, 0);
    for (
      const wanted of [
        "/dts-v1/;",
        "cpu@1",
        "riscv,plic0",
        "ns16550a",
        "virtio,mmio",
        'bootargs = "console=ttyS0 cryptomgr.notests"',
      ]
    ) {
      assertStringIncludes(out, wanted);
    }
  },
});
