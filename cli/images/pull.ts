// Makes a guest image out of a Debian archive: finds a mirror, fetches a kernel and busybox, builds the initramfs.

import { join } from "@std/path";
import { dependency, findPackages, onePackage, type Package, parseRelease, type Release } from "./archive.ts";
import { makeDataDisk } from "./data_disk.ts";
import { download, type Expected } from "./download.ts";
import { ImageError, InterruptedError, NoMirrorError, reason } from "./errors.ts";
import { GUEST_MODULES } from "./guest_init.ts";
import { initramfs } from "./initramfs.ts";
import { hostMirrors, normalized } from "./mirror.ts";
import { Progress, type ProgressOutput, standardError } from "./progress.ts";
import { checkSignature } from "./signature.ts";
import { findImage, type GuestImage, IMAGE_FILES, imagesFolder, storeImage } from "./store.ts";
import { collect, once, packageFiles, pieces, unxz } from "./unpack.ts";

/** How an image is pulled. */
export interface PullOptions {
  /** The archive's address, up to before `/dists`; default: `DENOVISOR_MIRROR`, or else the host's package sources. */
  readonly mirror?: string;
  /** Pull again an image that is there; its disk is kept. */
  readonly force?: boolean;
  /** Say nothing but what is wrong. */
  readonly quiet?: boolean;
  /** Default: the interrupt and termination signals of this process. */
  readonly signal?: AbortSignal;
  /** Where images are kept; default: the user's cache. */
  readonly folder?: string;
  /** Files of keys that may sign the archive; default: the host's keyring of Debian's archive. */
  readonly keyrings?: readonly string[];
  /** Where progress is shown; default: the standard error stream. */
  readonly output?: ProgressOutput;
}

interface Recipe {
  readonly origin: string;
  readonly codename: string;
  /** Names of the release on a mirror, each with an index: while the mirror changes, one may be whole. */
  readonly names: readonly string[];
  readonly index: string;
  /** A package that depends on the one with the kernel. */
  readonly kernel: string;
  readonly kernelPackage: RegExp;
  readonly busybox: string;
}

const RECIPES: Readonly<Record<string, Recipe>> = {
  "debian-13": {
    origin: "Debian",
    codename: "trixie",
    names: ["trixie", "stable"],
    index: "main/binary-riscv64/Packages.xz",
    kernel: "linux-image-riscv64",
    kernelPackage: /^linux-image-\d.*-riscv64$/,
    busybox: "busybox-static",
  },
};

/** The images that can be pulled. */
export const PULLABLE: readonly string[] = Object.keys(RECIPES);

/** At 56 in a RISC-V Image (Linux, Documentation/arch/riscv/boot-image-header.rst). */
const IMAGE_MAGIC = { offset: 56, text: "RSC\x05" };
/** Bytes of a kernel module; ext4, the largest, has two millions. */
const MAX_MODULE = 2 ** 26;
const SPACE_NEEDED = "about 200 MiB";

/**
 * Pulls the image of that name, or finds it where it is already.
 * Throws an {@linkcode ImageError} that says what to do, and leaves nothing of an image that is not whole;
 * a {@linkcode NoMirrorError} where no mirror is known, an {@linkcode InterruptedError} after `signal`.
 */
export async function pullImage(name: string, options: PullOptions = {}): Promise<GuestImage> {
  if (!Object.hasOwn(RECIPES, name)) {
    throw new ImageError(`There is no image ${name} to pull: wanted ${PULLABLE.join(" or ")}`);
  }
  const folder = options.folder ?? imagesFolder();
  const progress = new Progress(options.output ?? standardError(options.quiet ?? false));
  const found = await findImage(name, folder);
  if (found && !options.force) {
    progress.note(`${name} ${found.version} is here already; --force pulls it again`);
    return found;
  }
  using interrupt = options.signal ? undefined : new Interrupt();
  const signal = options.signal ?? interrupt!.signal;
  try {
    return await storeImage(name, {
      folder,
      afresh: options.force ?? false,
      signal,
      busy: () => progress.note(`Another process is pulling ${name}: waiting for it`),
      build: (staging, disk) => new Pull(RECIPES[name], staging, signal, progress, options).build(disk),
    });
  } catch (error) {
    throw explained(error, folder, signal);
  }
}

/** One making of an image in a folder. */
class Pull {
  readonly #recipe: Recipe;
  readonly #staging: string;
  readonly #signal: AbortSignal;
  readonly #progress: Progress;
  readonly #options: PullOptions;

  constructor(recipe: Recipe, staging: string, signal: AbortSignal, progress: Progress, options: PullOptions) {
    this.#recipe = recipe;
    this.#staging = staging;
    this.#signal = signal;
    this.#progress = progress;
    this.#options = options;
  }

  async build(disk: "keep" | "make"): Promise<{ version: string }> {
    const { mirror, kernel, busybox } = await this.#findArchive();
    const busyboxFile = await this.#fetch(mirror, busybox);
    const kernelFile = await this.#fetch(mirror, kernel);

    const modules = await this.#unpackKernel(kernelFile, kernel);
    const archive = initramfs(await this.#unpackBusybox(busyboxFile), modules);
    await Deno.writeFile(join(this.#staging, IMAGE_FILES.initrd), archive);
    await Promise.all([kernelFile, busyboxFile].map((path) => Deno.remove(path)));
    if (disk === "make") await makeDataDisk(join(this.#staging, IMAGE_FILES.disk));
    return { version: kernel.version };
  }

  /** The packages, and the first mirror that has a release with an index that is the release's own. */
  async #findArchive(): Promise<{ mirror: string; kernel: Package; busybox: Package }> {
    const { mirror: given = Deno.env.get("DENOVISOR_MIRROR") } = this.#options;
    const mirrors = given ? [normalized(given)] : await hostMirrors();
    let failure: unknown;
    for (const mirror of mirrors) {
      for (const name of this.#recipe.names) {
        const folder = `${mirror}/dists/${name}`;
        try {
          const release = await this.#findRelease(folder);
          this.#progress.note(`Mirror: ${mirror}, release ${name}`);
          return { mirror, ...await this.#findPackages(folder, release) };
        } catch (error) {
          if (this.#signal.aborted || !(error instanceof ImageError)) throw error;
          failure ??= error;
        }
      }
    }
    if (given) throw failure;
    const why = failure ? ` (${reason(failure)})` : "";
    throw new NoMirrorError(
      `This host's package sources name no mirror of Debian ${this.#recipe.codename}${why}: ` +
        "name one by --mirror URL or in DENOVISOR_MIRROR",
    );
  }

  async #findRelease(folder: string): Promise<Release> {
    const path = join(this.#staging, "InRelease");
    const url = `${folder}/InRelease`;
    try {
      await download(url, path, { signal: this.#signal });
      const { text, unchecked } = await checkSignature(path, url, this.#options.keyrings);
      const release = parseRelease(text);
      this.#checkRelease(url, release);
      if (unchecked) this.#progress.warn(`the archive's signature was not checked: ${unchecked}`);
      return release;
    } finally {
      await Deno.remove(path).catch(() => {});
    }
  }

  #checkRelease(url: string, { origin, codename, files }: Release): void {
    const wanted = this.#recipe;
    if (origin !== wanted.origin || codename !== wanted.codename || !files.has(wanted.index)) {
      throw new ImageError(`${url} is not of ${wanted.origin} ${wanted.codename} for riscv64: give another --mirror`);
    }
  }

  async #findPackages(folder: string, release: Release): Promise<{ kernel: Package; busybox: Package }> {
    const { index, kernel, kernelPackage, busybox } = this.#recipe;
    const path = join(this.#staging, "Packages.xz");
    try {
      await this.#download("package index", `${folder}/${index}`, path, release.files.get(index)!);
      const wanted = (name: string) => name === kernel || name === busybox || kernelPackage.test(name);
      using file = await Deno.open(path);
      const packages = await findPackages(unxz(pieces(file)), wanted);
      const { name, version } = dependency(onePackage(packages, kernel), (each) => kernelPackage.test(each));
      return { kernel: onePackage(packages, name, version), busybox: onePackage(packages, busybox) };
    } finally {
      await Deno.remove(path).catch(() => {});
    }
  }

  async #fetch(mirror: string, found: Package): Promise<string> {
    const path = join(this.#staging, `${found.name}.deb`);
    await this.#download(found.name, `${mirror}/${found.path}`, path, found);
    return path;
  }

  async #download(label: string, url: string, path: string, expected: Expected): Promise<void> {
    const signal = this.#signal;
    await this.#progress.during(label, expected.size, (advance) => download(url, path, { expected, signal, advance }));
  }

  async #unpackKernel(packagePath: string, { size }: Package): Promise<Map<string, Uint8Array>> {
    const { hasKernel, packed } = await this.#progress.during(
      "unpacking the kernel",
      size,
      (advance) => this.#takeKernel(packagePath, advance),
    );
    if (!hasKernel) throw new ImageError("The kernel's package holds no kernel: give another --mirror");
    await this.#checkKernel();

    const modules = new Map<string, Uint8Array>();
    for (const { path } of GUEST_MODULES) {
      const module = packed.get(path);
      if (!module) throw new ImageError(`The kernel's package holds no module ${path}: give another --mirror`);
      modules.set(path, await collect(unxz(once(module), MAX_MODULE)));
    }
    return modules;
  }

  /** Writes the kernel into its place and gives the modules, by path, as they are packed. */
  async #takeKernel(
    packagePath: string,
    advance: (bytes: number) => void,
  ): Promise<{ hasKernel: boolean; packed: Map<string, Uint8Array> }> {
    const packed = new Map<string, Uint8Array>();
    let hasKernel = false;
    for await (const { path, stream, bytes } of packageFiles(packagePath, advance)) {
      this.#signal.throwIfAborted();
      if (/^boot\/vmlinux-/.test(path)) {
        await Deno.writeFile(join(this.#staging, IMAGE_FILES.kernel), stream(), { signal: this.#signal });
        hasKernel = true;
      }
      const module = /^(?:usr\/)?lib\/modules\/[^/]+\/kernel\/(.*)\.ko\.xz$/.exec(path)?.[1];
      if (module && GUEST_MODULES.some(({ path }) => path === module)) packed.set(module, await bytes());
      if (hasKernel && packed.size === GUEST_MODULES.length) break;
    }
    return { hasKernel, packed };
  }

  async #checkKernel(): Promise<void> {
    using file = await Deno.open(join(this.#staging, IMAGE_FILES.kernel));
    const { offset, text } = IMAGE_MAGIC;
    const head = await collect(pieces(file, offset + text.length));
    if (new TextDecoder().decode(head.subarray(offset)) !== text) {
      throw new ImageError("The kernel's package holds a kernel of an unknown format: give another --mirror");
    }
  }

  async #unpackBusybox(packagePath: string): Promise<Uint8Array> {
    for await (const { path, bytes } of packageFiles(packagePath)) {
      if (/^(?:usr\/)?bin\/busybox$/.test(path)) return await bytes();
    }
    throw new ImageError("The package of busybox holds no busybox: give another --mirror");
  }
}

/** The signals by which a person or the system ends this process, as an `AbortSignal`. */
class Interrupt implements Disposable {
  readonly #controller = new AbortController();
  readonly #signals: readonly Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  readonly #abort = () => this.#controller.abort();

  constructor() {
    for (const signal of this.#signals) Deno.addSignalListener(signal, this.#abort);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    for (const signal of this.#signals) Deno.removeSignalListener(signal, this.#abort);
  }
}

/** An error in the words of the person who has to deal with it. */
function explained(error: unknown, folder: string, signal: AbortSignal): unknown {
  if (signal.aborted) return new InterruptedError("Interrupted: nothing was kept");
  const elsewhere = "set DENOVISOR_CACHE to a folder elsewhere";
  const { code } = error as { code?: string };
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new ImageError(`There is no room in ${folder}: make room for ${SPACE_NEEDED}, or ${elsewhere}`);
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return new ImageError(`Cannot write to ${folder} (${reason(error)}): ${elsewhere}`);
  }
  return error;
}
