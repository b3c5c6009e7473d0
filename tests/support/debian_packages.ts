// Files out of Debian's packages for riscv64, as an archive that a guest unpacks: fetched by name, verified, cached.

import { dirname, join } from "@std/path";
import { findPackages, onePackage, type Package, parseRelease } from "../../cli/images/archive.ts";
import { cpio, type CpioEntry } from "../../cli/images/cpio.ts";
import { download } from "../../cli/images/download.ts";
import { NoMirrorError } from "../../cli/images/errors.ts";
import { hostMirrors, normalized } from "../../cli/images/mirror.ts";
import { checkSignature } from "../../cli/images/signature.ts";
import { imagesFolder } from "../../cli/images/store.ts";
import { packageFiles, pieces, unxz } from "../../cli/images/unpack.ts";

const RELEASES = ["trixie", "stable"];
const CODENAME = "trixie";
const INDEX = "main/binary-riscv64/Packages.xz";
/** `libz.so.1.3.1` is what programs know as `libz.so.1`. */
const LIBRARY = /^(.*\/)?([^/]+\.so\.\d+)(?:\.\d+)+$/;

/** An archive is read as a disk. */
const SECTOR = 512;

/** What to take. */
export interface Wanted {
  /** The archive's name in the cache. */
  readonly name: string;
  readonly packages: readonly string[];
  /** Which files; default: all. */
  readonly files?: (path: string) => boolean;
}

/** The path of a cpio archive with the files; made at the first time, in the cache beside the images. */
export async function packedFiles(wanted: Wanted): Promise<string> {
  const folder = join(dirname(imagesFolder()), "packages");
  const path = join(folder, `${wanted.name}.cpio`);
  const exists = await Deno.stat(path).then(() => true, () => false);
  if (exists) return path;
  await Deno.mkdir(folder, { recursive: true });
  const staging = await Deno.makeTempDir({ dir: folder, prefix: ".partial_" });
  try {
    const archive = await pack(wanted, staging);
    await Deno.writeFile(join(staging, "archive"), archive);
    await Deno.truncate(join(staging, "archive"), Math.ceil(archive.length / SECTOR) * SECTOR);
    await Deno.rename(join(staging, "archive"), path);
    return path;
  } finally {
    await Deno.remove(staging, { recursive: true });
  }
}

async function pack({ packages, files = () => true }: Wanted, staging: string): Promise<Uint8Array<ArrayBuffer>> {
  const { mirror, found } = await find(packages, staging);
  const entries = new Map<string, CpioEntry>();
  const add = (entry: CpioEntry) => {
    for (let at = entry.path.indexOf("/"); at > 0; at = entry.path.indexOf("/", at + 1)) {
      const path = entry.path.slice(0, at);
      if (!entries.has(path)) entries.set(path, { path });
    }
    entries.set(entry.path, entry);
  };
  for (const link of ["bin", "sbin", "lib"]) add({ path: link, target: `usr/${link}` });
  for (const each of found) {
    const file = join(staging, `${each.name}.deb`);
    await download(`${mirror}/${each.path}`, file, { expected: each, signal: AbortSignal.timeout(120_000) });
    for await (const { path, bytes } of packageFiles(file)) {
      if (!files(path)) continue;
      const real = path.replace(/^(bin|sbin|lib)\//, "usr/$1/");
      add({ path: real, data: await bytes(), executable: /(^|\/)(s?bin\/|ld-linux)/.test(real) });
      const [, home = "", soname] = LIBRARY.exec(real) ?? [];
      if (soname) add({ path: home + soname, target: real.slice(home.length) });
      if (/\/ld-linux-[^/]+$/.test(real)) {
        const name = real.slice(real.lastIndexOf("/") + 1);
        if (real !== `usr/lib/${name}`) add({ path: `usr/lib/${name}`, target: real.slice("usr/lib/".length) });
      }
    }
    await Deno.remove(file);
  }
  return cpio([...entries.values()]);
}

/** The packages, on the first mirror that has them. */
async function find(names: readonly string[], staging: string): Promise<{ mirror: string; found: Package[] }> {
  const given = Deno.env.get("DENOVISOR_MIRROR");
  const signal = AbortSignal.timeout(120_000);
  let failure: unknown = new NoMirrorError("This host's package sources name no mirror: name one in DENOVISOR_MIRROR");
  for (const mirror of given ? [normalized(given)] : await hostMirrors()) {
    for (const release of RELEASES) {
      const [text, index] = [join(staging, "InRelease"), join(staging, "Packages.xz")];
      try {
        const folder = `${mirror}/dists/${release}`;
        await download(`${folder}/InRelease`, text, { signal });
        const { codename, files } = parseRelease((await checkSignature(text, `${folder}/InRelease`)).text);
        const expected = files.get(INDEX);
        if (codename !== CODENAME || !expected) throw new NoMirrorError(`${folder} is not of Debian ${CODENAME}`);
        await download(`${folder}/${INDEX}`, index, { expected, signal });
        using file = await Deno.open(index);
        const packages = await findPackages(unxz(pieces(file)), (name) => names.includes(name));
        return { mirror, found: names.map((name) => onePackage(packages, name)) };
      } catch (error) {
        failure = error;
      } finally {
        for (const path of [text, index]) await Deno.remove(path).catch(() => {});
      }
    }
  }
  throw failure;
}
