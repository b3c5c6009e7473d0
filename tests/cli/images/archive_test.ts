// A Debian archive's indexes: releases, package stanzas in pieces, dependencies.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { dependency, findPackages, onePackage, type Package, parseRelease } from "../../../cli/images/archive.ts";
import { ImageError } from "../../../cli/images/errors.ts";

const INDEX = `Package: alpha
Version: 1
Filename: pool/a.deb
Size: 10
SHA256: aa

Package: kernel
Version: 2-1
Depends: tools (>= 1), linux-image-6.12.1-riscv64 (= 2-1) | other
Description: of Package: beta
 Version: 9
Filename: pool/k.deb
Size: 20
SHA256: bb
Description-md5: 0

Package: alpha
Version: 3
Filename: pool/a3.deb
Size: 30
SHA256: cc
`;

async function* inPieces(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

Deno.test("findPackages finds the same however the index is cut", async () => {
  for (const size of [1, 7, 64, 10_000]) {
    const found = await findPackages(inPieces(INDEX, size), (name) => name !== "none");
    assertEquals(found.map(({ name, version, path, size }) => [name, version, path, size]), [
      ["alpha", "1", "pool/a.deb", 10],
      ["kernel", "2-1", "pool/k.deb", 20],
      ["alpha", "3", "pool/a3.deb", 30],
    ]);
  }
});

Deno.test("findPackages says in one line what a package lacks", async () => {
  const name = `beta\n ${"a\n ".repeat(1000)}`;
  await assertRejects(
    () => findPackages(inPieces(`Package: ${name}\nFilename: b`, 1000), () => true),
    ImageError,
    "The archive's index tells no Version of beta: give another --mirror",
  );
});

Deno.test("onePackage takes the version that is asked for, or the last", async () => {
  const packages = await findPackages(inPieces(INDEX, 50), () => true);
  assertEquals(onePackage(packages, "alpha").version, "3");
  assertEquals(onePackage(packages, "alpha", "1").sha256, "aa");
  assertThrows(() => onePackage(packages, "alpha", "2"), ImageError, "no package alpha 2");
  assertThrows(() => onePackage(packages, "beta"), ImageError, "no package beta");
});

Deno.test("dependency finds a name and the version it is bound to", () => {
  const kernel = (depends: string): Package => ({
    name: "kernel",
    version: "1",
    path: "",
    size: 0,
    sha256: "",
    depends,
  });
  const isImage = (name: string) => name.startsWith("linux-image-");
  assertEquals(dependency(kernel("a, linux-image-1 (= 2:3-4+b5)"), isImage), {
    name: "linux-image-1",
    version: "2:3-4+b5",
  });
  assertEquals(dependency(kernel("a | linux-image-1:any (>= 2)"), isImage), { name: "linux-image-1" });
  assertThrows(() => dependency(kernel("a, b"), isImage), ImageError, "depends on no kernel");
});

Deno.test("parseRelease reads the hashes of SHA256 alone", () => {
  const release = parseRelease(`Origin: Debian
Codename: trixie
MD5Sum:
 00 5 main/a
SHA256:
 aa 1 main/a
 bb  22 main/b
Acquire-By-Hash: yes
`);
  assertEquals(release.origin, "Debian");
  assertEquals(release.codename, "trixie");
  assertEquals([...release.files], [["main/a", { sha256: "aa", size: 1 }], ["main/b", { sha256: "bb", size: 22 }]]);
});
