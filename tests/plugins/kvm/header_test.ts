// Structures and numbers of KVM's interface, against the C header itself.

import { assertEquals } from "@std/assert";
import * as api from "../../../plugins/kvm/api.ts";
import { STRUCTURES } from "../../../plugins/kvm/structures.ts";

/** Structures and unions within others, by the prefix of their fields' names here. */
const INNER: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  kvm_sregs: Object.fromEntries(
    ["cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt", "gdt", "idt"].map((name) => [name, name]),
  ),
  kvm_vcpu_events: { exception: "exception", interrupt: "interrupt", nmi: "nmi" },
  kvm_xcrs: { xcrs: "xcrs[0]" },
  kvm_pit_state2: { channel0: "channels[0]", channel1: "channels[1]", channel2: "channels[2]" },
  kvm_run: Object.fromEntries(
    ["io", "mmio", "hw", "fail_entry", "internal", "emulation_failure", "system_event"].map((name) => [name, name]),
  ),
};
/** Members whose own names begin with such a prefix. */
const OUTER = ["kvm_sregs.interrupt_bitmap", "kvm_run.if_flag"];

function member(structure: string, field: string): string {
  if (OUTER.includes(`${structure}.${field}`)) return field;
  for (const [prefix, inner] of Object.entries(INNER[structure] ?? {})) {
    if (field.startsWith(`${prefix}_`)) return `${inner}.${field.slice(prefix.length + 1)}`;
  }
  return field;
}

/** What a C program prints; nothing, and why, if it can not be made here. */
async function runC(source: string): Promise<string | undefined> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/main.c`, source);
    const compile = await new Deno.Command("gcc", { args: ["-w", "-o", `${folder}/main`, `${folder}/main.c`] })
      .output();
    if (!compile.success) throw new Error(new TextDecoder().decode(compile.stderr));
    const { stdout } = await new Deno.Command(`${folder}/main`).output();
    return new TextDecoder().decode(stdout);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return void console.log("skipped: gcc is not installed");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function hasHeader(): Promise<boolean> {
  const there = Deno.build.arch === "x86_64" &&
    await Deno.stat("/usr/include/linux/kvm.h").then(() => true, () => false);
  if (!there) console.log("skipped: <linux/kvm.h> for x86-64 is not installed (package linux-libc-dev)");
  return there;
}

const ignore = !await hasHeader();

Deno.test({
  name: "KVM's structures have the header's sizes and offsets",
  ignore,
  async fn() {
    const lines: string[] = [];
    const wanted: string[] = [];
    for (const [name, { size, fields }] of Object.entries(STRUCTURES)) {
      lines.push(`printf("${name} %zu\\n", sizeof(struct ${name}));`);
      wanted.push(`${name} ${size}`);
      for (const [field, [offset, width, count]] of Object.entries(fields)) {
        const of = member(name, field);
        const size = `sizeof(((struct ${name} *) 0)->${of})`;
        // Elements of a list of structures lie further apart than they are wide.
        lines.push(`printf("${name}.${field} %zu %zu\\n", __builtin_offsetof(struct ${name}, ${of}), ${size});`);
        wanted.push(`${name}.${field} ${offset} ${width * (count ?? 1)}`);
      }
    }
    const found = await runC(`#include <stdio.h>
      #include <linux/kvm.h>
      int main() { ${lines.join("\n")} return 0; }`);
    if (found !== undefined) assertEquals(found.trim().split("\n"), wanted);
  },
});

Deno.test({
  name: "KVM's numbers are the header's",
  ignore,
  async fn() {
    const named = (prefix: string, values: Readonly<Record<string, number>>) =>
      Object.entries(values).map(([name, value]) => [`${prefix}${name}`, value] as const);
    const names = [
      ...named("KVM_", api.KVM),
      ...named("", api.CAPABILITIES),
      ...named("KVM_EXIT_", api.EXIT),
      ...named("KVM_MP_STATE_", api.MP_STATE),
      ...named("KVM_SYSTEM_EVENT_", api.SYSTEM_EVENT),
      ...Object.entries({
        KVM_CAP_TSC_DEADLINE_TIMER: api.CAP_TSC_DEADLINE_TIMER,
        KVM_EXIT_IO_OUT: api.IO_OUT,
        KVM_MEM_LOG_DIRTY_PAGES: api.MEM_LOG_DIRTY_PAGES,
        KVM_IOEVENTFD_FLAG_DATAMATCH: api.IOEVENTFD_DATAMATCH,
        KVM_IOEVENTFD_FLAG_PIO: api.IOEVENTFD_PIO,
        KVM_IRQFD_FLAG_RESAMPLE: api.IRQFD_RESAMPLE,
        KVM_PIT_SPEAKER_DUMMY: api.PIT_SPEAKER_DUMMY,
        KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES: api.EMULATION_HAS_BYTES,
      }),
    ];
    const found = await runC(`#include <stdio.h>
      #include <linux/kvm.h>
      int main() { ${names.map(([name]) => `printf("${name} %u\\n", (unsigned) ${name});`).join("\n")} return 0; }`);
    if (found !== undefined) assertEquals(found.trim().split("\n"), names.map(([name, value]) => `${name} ${value}`));
  },
});
