// Tests core/device_tree.ts; dtc, where it is installed, is the judge of what is written.

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { decodeTree, encodeTree, formatTree, node } from "../../core/device_tree.ts";
import { dtc, hasDtc } from "../support/dtc.ts";

function sample() {
  const controller = node("interrupt-controller@c000000", {
    compatible: "riscv,plic0",
    "interrupt-controller": true,
    "#interrupt-cells": 1,
    "#address-cells": 0,
    reg: [0xc000000n, 0x600000n],
  });
  const serial = node("serial@10000000", {
    compatible: ["ns16550a", "ns16550"],
    reg: [0x10000000n, 0x100n],
    interrupts: 10,
    "interrupt-parent": controller,
    "no-such": false,
  });
  const soc = node("soc", { compatible: "simple-bus", "#address-cells": 2, "#size-cells": 2, ranges: true }, [
    controller,
    serial,
  ]);
  return node("", { "#address-cells": 2, "#size-cells": 2, model: 'a "quoted" \\ model', compatible: "test" }, [
    node("chosen", { "stdout-path": "/soc/serial@10000000", seed: Uint8Array.of(1, 2, 3), time: 0x1_2345_6789n }),
    soc,
  ]);
}

Deno.test("device tree keeps its values through a blob", () => {
  const root = decodeTree(encodeTree(sample()));
  const [chosen, soc] = root.children;
  const [controller, serial] = soc.children;
  assertEquals(root.children.map((child) => child.name), ["chosen", "soc"]);
  assertEquals(chosen.properties.seed, Uint8Array.of(1, 2, 3));
  assertEquals(chosen.properties.time, Uint8Array.of(0, 0, 0, 1, 0x23, 0x45, 0x67, 0x89));
  assertEquals(soc.properties.ranges, new Uint8Array(0));
  assertEquals(controller.properties.phandle, Uint8Array.of(0, 0, 0, 1));
  assertEquals(serial.properties["interrupt-parent"], controller.properties.phandle);
  assertEquals(serial.properties.compatible, new TextEncoder().encode("ns16550a\0ns16550\0"));
  assertEquals("no-such" in serial.properties, false);
});

Deno.test("device tree gives the same blob again", () => {
  const blob = encodeTree(sample());
  assertEquals(encodeTree(sample()), blob);
  assertEquals(encodeTree(decodeTree(blob)), blob);
});

Deno.test("device tree prints as source text", () => {
  const text = formatTree(sample());
  assertStringIncludes(text, '\tmodel = "a \\"quoted\\" \\\\ model";\n');
  assertStringIncludes(text, "\t\tseed = [01 02 03];\n");
  assertStringIncludes(text, '\t\t\tcompatible = "ns16550a", "ns16550";\n\t\t\treg = <0x0 0x10000000 0x0 0x100>;\n');
  assertStringIncludes(text, "\t\tranges;\n");
  assertEquals(formatTree(decodeTree(encodeTree(sample()))), text);
});

Deno.test({
  name: "device tree satisfies dtc as a blob and as source text",
  ignore: !hasDtc(),
  async fn() {
    const blob = encodeTree(sample());
    const fromBlob = await dtc("dtb", "dts", blob);
    assertEquals(fromBlob.complaints, "");
    const fromText = await dtc("dts", "dtb", new TextEncoder().encode(formatTree(sample())));
    assertEquals(fromText.complaints, "");
    assertEquals(decodeTree(fromText.output), decodeTree(blob));
  },
});

Deno.test("device tree refuses what it can not hold, with the place", () => {
  const refuse = (properties: Parameters<typeof node>[1], message: string): void => {
    const error = assertThrows(() => encodeTree(node("", {}, [node("chip", properties)])));
    assertStringIncludes((error as Error).message, message);
  };
  refuse({ speed: -1 }, "Cannot encode /chip speed: wanted an unsigned 32-bit number, got -1");
  refuse({ speed: 2 ** 32 }, "wanted an unsigned 32-bit number, got 4294967296");
  refuse({ speed: 0.5 }, "wanted an unsigned 32-bit number, got 0.5");
  refuse({ speed: 1n << 64n }, "wanted an unsigned 64-bit number, got 18446744073709551616");
  refuse({ label: "höher" }, "Cannot encode /chip label: wanted ASCII text, got the character U+f6");
  refuse({ label: "a\0b" }, "got the character U+0");
  refuse({ "a b": true }, 'Cannot encode /chip: "a b" is no name for a property');
  refuse({ parent: node("elsewhere") }, 'Cannot encode /chip: parent refers to "elsewhere", which is not in the tree');
  refuse({ mixed: ["a", 1] as unknown as string[] }, "Cannot encode /chip mixed: wanted text or cells, got a mixture");
  assertThrows(() => encodeTree(node("", {}, [node("a"), node("a")])), RangeError, 'two nodes are named "a"');
  assertThrows(() => encodeTree(node("", {}, [node("a/b")])), RangeError, '"a/b" is no name for a node');
});

Deno.test("device tree reader survives every cut and every changed byte", () => {
  const blob = encodeTree(sample());
  for (let length = 0; length < blob.length; length++) {
    assertThrows(() => decodeTree(blob.subarray(0, length)), RangeError, "Cannot read the device tree");
  }
  for (let i = 0; i < blob.length; i++) {
    for (const value of [0, 1, 0x7f, 0xff]) {
      const changed = blob.slice();
      changed[i] = value;
      try {
        decodeTree(changed);
      } catch (error) {
        assert(error instanceof RangeError && error.message.startsWith("Cannot read the device tree"), String(error));
      }
    }
  }
});
