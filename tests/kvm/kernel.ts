// The guest kernel of the kvm tests, built from Debian's linux-source package: `deno task kvm:kernel`.

import { fromFileUrl, join } from "@std/path";
import { fetchBusybox } from "./guest.ts";
import { exists, kvmCache, need, packageBehind, run, unpackPackage } from "./host.ts";

/** A built kernel, by path. */
export interface GuestKernel {
  /** The ELF file. */
  readonly vmlinux: string;
  readonly bzImage: string;
}

const CONFIG = fromFileUrl(new URL("kernel.config", import.meta.url));
/** The tools that a build needs, and the packages they are in. */
const TOOLS = { gcc: "gcc", make: "make", flex: "flex", bison: "bison", bc: "bc", xz: "xz-utils" };

/** Where the kernel of today's configuration is kept. */
async function home(): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(CONFIG)));
  return join(kvmCache(), `linux-${digest.subarray(0, 6).toHex()}`);
}

/** The kernel, if it was built. */
export async function findKernel(): Promise<GuestKernel | undefined> {
  const folder = await home();
  const kernel = { vmlinux: join(folder, "vmlinux"), bzImage: join(folder, "bzImage") };
  return await exists(folder) ? kernel : undefined;
}

/** The words of the configuration that the kernel's own rules did not let stand. */
function lost(wanted: string, made: string): string[] {
  const lines = new Set(made.split("\n"));
  return wanted.split("\n").filter((line) => line.startsWith("CONFIG_") && !lines.has(line));
}

/** Builds the kernel into the cache, at once or not at all. A build that was broken off is gone on with. */
async function build(): Promise<void> {
  await need("build the kernel", TOOLS);
  const folder = await home();
  const work = `${folder}.partial`;
  const tree = join(work, "tree");
  if (!await exists(tree)) {
    const name = await packageBehind("linux-source", /linux-source-\S+/);
    console.log(`Fetching ${name}`);
    await unpackPackage(name, work);
    await Deno.mkdir(`${tree}.new`, { recursive: true });
    await run("tar", ["-xf", `usr/src/${name}.tar.xz`, "-C", `${tree}.new`, "--strip-components=1"], work);
    await Deno.rename(`${tree}.new`, tree);
  }
  const wanted = await Deno.readTextFile(CONFIG);
  if (!await exists(join(tree, ".config"))) {
    await run("make", ["-s", "ARCH=x86_64", "allnoconfig"], tree, { KCONFIG_ALLCONFIG: CONFIG });
  }
  const gone = lost(wanted, await Deno.readTextFile(join(tree, ".config")));
  if (gone.length) throw new Error(`Cannot build the kernel: its rules change ${gone.join(", ")}`);
  console.log("Building the kernel: some minutes");
  const stamp = { KBUILD_BUILD_USER: "denovisor", KBUILD_BUILD_HOST: "localhost" };
  await run("make", ["-s", "ARCH=x86_64", `-j${navigator.hardwareConcurrency}`, "vmlinux", "bzImage"], tree, stamp);

  const done = join(work, "done");
  await Deno.mkdir(done, { recursive: true });
  await run("strip", ["-g", "-o", join(done, "vmlinux"), "vmlinux"], tree);
  await Deno.copyFile(join(tree, "arch/x86/boot/bzImage"), join(done, "bzImage"));
  await Deno.rename(done, folder);
  await Deno.remove(work, { recursive: true });
}

if (import.meta.main) {
  await fetchBusybox();
  if (!await findKernel()) await build();
  const kernel = await findKernel();
  console.log(`The kernel is ${kernel!.vmlinux} and ${kernel!.bzImage}`);
}
