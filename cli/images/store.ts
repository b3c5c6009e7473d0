// Where guest images are kept: one folder each in the user's cache (XDG Base Directory Specification and its peers).

import { join } from "@std/path/join";
import { ImageError, InterruptedError } from "./errors.ts";

/** A guest image that is ready to boot; its files by absolute path. */
export interface GuestImage {
  readonly name: string;
  /** Of the package that the kernel is from. */
  readonly version: string;
  readonly kernel: string;
  readonly initrd: string;
  /** A raw disk image the guest may write to. */
  readonly disk: string;
  /** Bytes the files take on the host's disk. */
  readonly size: number;
}

/** The files of an image, by what they are. */
export const IMAGE_FILES = { kernel: "vmlinux", initrd: "initrd.cpio", disk: "disk.raw" } as const;

const MANIFEST = "image.json";
const NAME = /^[a-z0-9][a-z0-9._-]*$/;
const BLOCK_SIZE = 512;

/** The folder of all images. */
export function imagesFolder(env: Pick<typeof Deno.env, "get"> = Deno.env, os: string = Deno.build.os): string {
  const cache = cacheFolder(env, os);
  if (cache) return join(cache, "images");
  throw new ImageError("Cannot tell where images are kept: set DENOVISOR_CACHE to a folder for them");
}

/** The user's folder for what can be made again: `DENOVISOR_CACHE`, or else one in the system's; undefined if unknown. */
export function cacheFolder(
  env: Pick<typeof Deno.env, "get"> = Deno.env,
  os: string = Deno.build.os,
): string | undefined {
  const home = env.get("HOME") ?? env.get("USERPROFILE");
  const underHome = (...parts: string[]) => home && join(home, ...parts);
  const systems: Record<string, string | undefined> = {
    darwin: underHome("Library", "Caches"),
    windows: env.get("LOCALAPPDATA") ?? underHome("AppData", "Local"),
  };
  const system = Object.hasOwn(systems, os) ? systems[os] : env.get("XDG_CACHE_HOME") || underHome(".cache");
  return env.get("DENOVISOR_CACHE") || (system && join(system, "denovisor"));
}

/** The image of that name, if it is there and whole. */
export async function findImage(name: string, folder: string = imagesFolder()): Promise<GuestImage | undefined> {
  if (!NAME.test(name)) return undefined;
  const home = join(folder, name);
  try {
    const { version } = JSON.parse(await Deno.readTextFile(join(home, MANIFEST)));
    const { kernel, initrd, disk } = IMAGE_FILES;
    const image = { kernel: join(home, kernel), initrd: join(home, initrd), disk: join(home, disk) };
    const sizes = await Promise.all(Object.values(image).map(sizeOnDisk));
    return { name, version: String(version), ...image, size: sizes.reduce((sum, size) => sum + size, 0) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function sizeOnDisk(path: string): Promise<number> {
  const { blocks, size } = await Deno.stat(path);
  return blocks === null ? size : blocks * BLOCK_SIZE;
}

/** All images, by name. */
export async function listImages(folder: string = imagesFolder()): Promise<GuestImage[]> {
  const names: string[] = [];
  try {
    for await (const { name, isDirectory } of Deno.readDir(folder)) if (isDirectory) names.push(name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const images = await Promise.all(names.sort().map((name) => findImage(name, folder)));
  return images.filter((image) => image !== undefined);
}

/** Removes an image, its disk included. Throws an {@linkcode ImageError} if there is none, or one is being pulled. */
export async function removeImage(name: string, folder: string = imagesFolder()): Promise<void> {
  const missing = new ImageError(`There is no image ${name}: denovisor images list shows those that are there`);
  if (!NAME.test(name) || !await exists(join(folder, name))) throw missing;
  using lock = await Lock.open(name, folder);
  if (!await lock.try()) throw new ImageError(`${name} is being pulled just now: try again when that is done`);
  await remove(join(folder, name));
}

/**
 * Makes an image at once or not at all: `build` fills a folder beside the image's place, which then takes that place.
 * The disk of an image that was there goes on in the new one: it may hold work. Only one process at a time builds an
 * image; another waits, after `busy`, and is then given what the first one made, unless `afresh`.
 */
export async function storeImage(
  name: string,
  { folder = imagesFolder(), afresh, signal, busy, build }: {
    folder?: string;
    afresh: boolean;
    signal: AbortSignal;
    busy: () => void;
    build: (staging: string, disk: "keep" | "make") => Promise<{ version: string }>;
  },
): Promise<GuestImage> {
  await Deno.mkdir(folder, { recursive: true });
  using lock = await Lock.open(name, folder);
  if (!await lock.try()) {
    busy();
    await lock.wait(signal);
  }
  const home = join(folder, name);
  const staging = join(folder, `.${name}.partial`);
  const former = join(folder, `.${name}.former`);
  if (await exists(former) && !await exists(home)) await Deno.rename(former, home);
  const found = await findImage(name, folder);
  if (found && !afresh) return found;

  await remove(staging);
  await remove(former);
  await Deno.mkdir(staging);
  try {
    const { version } = await build(staging, found ? "keep" : "make");
    await Deno.writeTextFile(join(staging, MANIFEST), JSON.stringify({ name, version }, null, 2) + "\n");
    if (found) await share(found.disk, join(staging, IMAGE_FILES.disk));
    signal.throwIfAborted();
    if (await exists(home)) await Deno.rename(home, former);
    await Deno.rename(staging, home).catch(async (error) => {
      await Deno.rename(former, home);
      throw error;
    });
    await remove(former);
  } finally {
    await remove(staging);
  }
  return (await findImage(name, folder))!;
}

/** Two names for one file, or a copy where the file system knows no links. */
async function share(from: string, to: string): Promise<void> {
  await Deno.link(from, to).catch(() => Deno.copyFile(from, to));
}

/** A claim to an image's place, which ends with the process that holds it. */
class Lock implements Disposable {
  readonly #file: Deno.FsFile;

  private constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  static async open(name: string, folder: string): Promise<Lock> {
    return new Lock(await Deno.open(join(folder, `.${name}.lock`), { read: true, write: true, create: true }));
  }

  try(): Promise<boolean> {
    return this.#file.tryLock(true);
  }

  /** Asks again and again: a blocking lock could not be given up. */
  async wait(signal: AbortSignal): Promise<void> {
    while (!await this.try()) {
      if (signal.aborted) throw new InterruptedError("Interrupted while waiting for another pull");
      await new Promise((settle) => setTimeout(settle, 200));
    }
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

async function remove(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}
