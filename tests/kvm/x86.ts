// x86-64 programs for tests, assembled by GNU as (Debian's binutils); and whether KVM works here.

import kvm from "../../plugins/kvm/engine.ts";
import { need, run } from "./host.ts";

/** Why KVM tests can not run here; nothing if they can. It is printed once. */
export async function withoutKvm(): Promise<string | undefined> {
  const probe = await kvm.probe();
  let why = probe.usable ? undefined : probe.why;
  try {
    if (!why) await need("assemble x86-64", { as: "binutils", ld: "binutils" });
  } catch (error) {
    why = (error as Error).message;
  }
  if (why) console.log(`skipped: ${why}`);
  return why;
}

/** The bytes of an assembly text in Intel's syntax, linked to `at`. */
export async function assemble(source: string, at: number): Promise<Uint8Array> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/code.s`, `.intel_syntax noprefix\n${source}\n`);
    await run("as", ["--64", "-o", `${folder}/code.o`, `${folder}/code.s`]);
    const link = ["-m", "elf_x86_64", `-Ttext=0x${at.toString(16)}`, "--oformat", "binary", "-e", "0"];
    await run("ld", [...link, "-o", `${folder}/code.bin`, `${folder}/code.o`]);
    return await Deno.readFile(`${folder}/code.bin`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Where flat binaries are loaded. */
const AT = { real: 0x7c00, long: 0x10_0000 } as const;

/** A flat binary for real or for long mode. */
export function flat(mode: "real" | "long", source: string): Promise<Uint8Array> {
  return assemble(`${mode === "real" ? ".code16" : ".code64"}\n${source}`, AT[mode]);
}
