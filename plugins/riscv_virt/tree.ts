// The machine as its guest sees it: the device tree after Linux's bindings (Devicetree Specification 0.4, section 3).

import { node, type PropertyValue, type TreeNode } from "../../core/device_tree.ts";
import type { Address, BootContext, DeviceTreePart, Engine, PlacedDevice, TreeValue } from "../../core/plugin.ts";

/** What the board knows of its machine. */
export interface Facts {
  /** Ticks a second of the `time` counter. */
  readonly timebase: number;
  /** Where the initrd is to be. */
  readonly initrd?: { readonly at: Address; readonly size: number };
}

function unitName(name: string, at: Address | undefined): string {
  return at === undefined ? name : `${name}@${at.toString(16)}`;
}

/** A property's value with `"self"` replaced by the device's own node. */
function resolve(value: TreeValue, self: TreeNode): PropertyValue {
  if (typeof value !== "object") return value;
  if ("phandle" in value) return self;
  if (value.every((item) => typeof item === "string")) return value;
  return value.map((item) => item === "self" ? self : item) as number[];
}

function resolveAll(properties: DeviceTreePart["properties"], self: TreeNode): Record<string, PropertyValue> {
  return Object.fromEntries(Object.entries(properties ?? {}).map(([name, value]) => [name, resolve(value, self)]));
}

/** The texts of `riscv,isa-extensions`: one a letter of the base string, then the multi-letter ones. */
function extensions(isa: string): string[] {
  const [base, ...named] = isa.split("_");
  return [...base.slice("rv64".length), ...named];
}

interface Cpu {
  readonly node: TreeNode;
  /** Its interrupt inputs. */
  readonly inputs: TreeNode;
}

function describeCpu(hart: number, description: Engine["description"]): Cpu {
  const { isa, mmu } = description;
  if (typeof isa !== "string" || !/^rv64i[a-z]*(_[a-z0-9]+)*$/.test(isa)) {
    throw new TypeError(`Cannot describe the CPUs: wanted an ISA text such as "rv64imafdc_zicsr", got ${String(isa)}`);
  }
  const inputs = node("interrupt-controller", {
    compatible: "riscv,cpu-intc",
    "#address-cells": 0,
    "#interrupt-cells": 1,
    "interrupt-controller": true,
  });
  const properties = {
    device_type: "cpu",
    compatible: "riscv",
    reg: hart,
    status: "okay",
    ...typeof mmu === "string" ? { "mmu-type": mmu } : {},
    "riscv,isa": isa,
    "riscv,isa-base": "rv64i",
    "riscv,isa-extensions": extensions(isa),
  };
  return { node: node(unitName("cpu", hart), properties, [inputs]), inputs };
}

/** A device's own node, still without its interrupts. */
function describeDevice(device: PlacedDevice, tree: DeviceTreePart): TreeNode {
  const self = node(unitName(tree.node ?? device.plugin, device.addresses[0]), { compatible: tree.compatible });
  if (device.addresses.length) {
    self.properties.reg = device.regions.flatMap(({ size }, i) => [BigInt(device.addresses[i]), BigInt(size)]);
  }
  Object.assign(self.properties, resolveAll(tree.properties, self));
  return self;
}

/** `base`, or `base-2`, `base-3`… if a sibling has that name already. */
function uniqueName(base: string, siblings: readonly TreeNode[]): string {
  const taken = new Set(siblings.map(({ name }) => name));
  for (let i = 1, name = base;; name = `${base}-${++i}`) if (!taken.has(name)) return name;
}

/** Builds the tree of a machine whose devices are placed. */
export function buildTree({ engine, files, devices, seed }: BootContext, { timebase, initrd }: Facts): TreeNode {
  const cpus = engine.harts.map((_, hart) => describeCpu(hart, engine.description));
  const described = devices.flatMap((device) =>
    device.tree ? [{ device, tree: device.tree, self: describeDevice(device, device.tree) }] : []
  );
  const controller = described.find(({ tree }) => tree.properties?.["interrupt-controller"])?.self;
  const serials = described.filter(({ tree }) => tree.node === "serial").map(({ self }) => `/soc/${self.name}`);

  const chosen = node("chosen", {
    ...files.append === undefined ? {} : { bootargs: files.append },
    ...serials.length ? { "stdout-path": serials[0] } : {},
    ...initrd ? { "linux,initrd-start": BigInt(initrd.at), "linux,initrd-end": BigInt(initrd.at + initrd.size) } : {},
    ...seed ? { "rng-seed": seed } : {},
  });
  const soc = node("soc", { compatible: "simple-bus", "#address-cells": 2, "#size-cells": 2, ranges: true });
  const root = node("", { "#address-cells": 2, "#size-cells": 2, compatible: "riscv-virtio", model: "riscv-virtio" }, [
    chosen,
    node("aliases", Object.fromEntries(serials.map((path, i) => [`serial${i}`, path]))),
    node(unitName("memory", engine.ram.base), {
      device_type: "memory",
      reg: [BigInt(engine.ram.base), BigInt(engine.ram.size)],
    }),
    node(
      "cpus",
      { "#address-cells": 1, "#size-cells": 0, "timebase-frequency": timebase },
      cpus.map((cpu) => cpu.node),
    ),
    soc,
  ]);

  for (const { device, tree, self } of described) {
    if (tree.cpuLines) {
      self.properties["interrupts-extended"] = cpus.flatMap(({ inputs }) =>
        tree.cpuLines!.flatMap((line) => [inputs, line])
      );
    }
    if (device.irq !== undefined && controller) {
      Object.assign(self.properties, { "interrupt-parent": controller, interrupts: device.irq });
    }
    // Only what has an address may stand on a simple bus.
    const parent = device.addresses.length ? soc : root;
    parent.children.push(self);
    for (const [name, properties] of Object.entries(tree.companions ?? {})) {
      root.children.push(node(uniqueName(name, root.children), resolveAll(properties, self)));
    }
  }
  return root;
}
