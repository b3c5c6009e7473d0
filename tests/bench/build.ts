// Builds the guests' programs with Debian's cross compiler (packages gcc-riscv64-linux-gnu, libc6-dev-riscv64-cross).

import { fromFileUrl, join } from "@std/path";
import { cpio } from "../../cli/images/cpio.ts";

export const COMPILER = "riscv64-linux-gnu-gcc";
/** Where the guest finds the programs. */
export const PROGRAMS = "/bench";

const here = fromFileUrl(new URL(".", import.meta.url));

async function compile(args: readonly string[]): Promise<void> {
  const { success } = await new Deno.Command(COMPILER, { args: [...args], stderr: "inherit" }).output();
  if (!success) throw new Error(`${COMPILER} failed`);
}

async function sources(folder: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) if (name.endsWith(".c")) names.push(join(folder, name));
  return names.sort();
}

/** The program that runs without an operating system; gives its path. */
export async function buildBare(into: string): Promise<string> {
  const folder = join(here, "bare");
  const path = join(into, "bare.elf");
  await compile([
    ...["-O2", "-march=rv64gc", "-mcmodel=medany", "-ffreestanding", "-nostdlib", "-static", "-no-pie"],
    ...["-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments", "-T", join(folder, "link.ld")],
    ...["-o", path, ...await sources(folder)],
  ]);
  return path;
}

/** An initrd that holds the programs besides what `initrd` does; gives its path. */
export async function buildInitrd(initrd: string, into: string): Promise<string> {
  const program = join(into, "bench");
  await compile(["-O2", "-static", "-s", "-o", program, ...await sources(join(here, "guests")), "-lm"]);
  const archive = cpio([{ path: PROGRAMS.slice(1), data: await Deno.readFile(program), executable: true }]);
  // The kernel unpacks archives one behind the other.
  const path = join(into, "initrd.cpio");
  await Deno.writeFile(path, await Deno.readFile(initrd));
  await Deno.writeFile(path, archive, { append: true });
  return path;
}
