// `deno task start`: boots Debian's kernel to a shell, with a disk and a hub; the first time, makes the image.

import { fromFileUrl } from "@std/path";
import { report } from "./errors.ts";
import { NoMirrorError } from "./images/errors.ts";
import { findImage, type GuestImage } from "./images/store.ts";
import { runCommand } from "./run.ts";

const IMAGE = "debian-13";
const MEMORY = "512M";

/** Boots the image; `args` are further options of `run`. Gives the exit code. */
async function start(args: readonly string[]): Promise<number> {
  let image: GuestImage;
  try {
    image = await findImage(IMAGE) ?? await (await import("./images.ts")).pullImage(IMAGE);
  } catch (error) {
    if (!(error instanceof NoMirrorError)) throw error;
    return await withoutImage();
  }
  const memory = args.some((arg) => /^--memory(=|$)/.test(arg)) ? [] : ["--memory", MEMORY];
  return await runCommand(["--image", IMAGE, "--disk", image.disk, "--net", "hub:lan", ...memory, ...args]);
}

/** Where no archive is known: shows what goes without one, and how to go on. */
async function withoutImage(): Promise<number> {
  const hello = fromFileUrl(new URL("../examples/hello.ts", import.meta.url));
  const { code } = await new Deno.Command(Deno.execPath(), { args: ["run", "--quiet", hello] }).spawn().status;
  console.log(
    "\nThat was the embedded guest: this system names no Debian mirror. To boot Linux, choose one near you and run\n\n" +
      `  npx -y deno@2 task cli images pull ${IMAGE} --mirror URL\n\n` +
      "with the mirror's address up to before /dists, and then npx -y deno@2 task start again.",
  );
  return code;
}

if (import.meta.main) Deno.exit(await start(Deno.args).catch(report));
