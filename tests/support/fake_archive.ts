// A tiny Debian archive on this machine's own address, with faults on demand, for tests of `images pull`.

import { createHash } from "node:crypto";
import { GUEST_MODULES } from "../../cli/images/guest_init.ts";
import { xzStored } from "./xz_stored.ts";

const KERNEL = "linux-image-6.12.1-riscv64";
const MODULES = "usr/lib/modules/6.12.1-riscv64/kernel";

/** The address of each file below the mirror's, as the archive lays them out. */
export const PATHS = {
  release: "/dists/trixie/InRelease",
  index: "/dists/trixie/main/binary-riscv64/Packages.xz",
  kernel: "/pool/kernel.deb",
  busybox: "/pool/busybox.deb",
} as const;

/** What the archive holds; a test may change any part of it. */
export interface ArchiveContent {
  kernelFiles: Record<string, Uint8Array>;
  busyboxFiles: Record<string, Uint8Array>;
  /** The lines of the index's stanzas that a test leaves out. */
  without: (stanza: string) => boolean;
  release: { origin: string; codename: string };
  /** Turns the release file's text into what is served. */
  sign: (text: string) => Promise<string>;
}

/** A content that makes a whole image; every file differs, none is a real one. */
export function wholeContent(): ArchiveContent {
  const kernel = new Uint8Array(100_000).map((_, i) => i * 7);
  kernel.set(encode("RSC\x05"), 56);
  return {
    kernelFiles: {
      "boot/config-6.12.1-riscv64": encode("CONFIG=y\n"),
      "boot/vmlinux-6.12.1-riscv64": kernel,
      [`${MODULES}/drivers/other.ko.xz`]: xzStored(encode("another module")),
      ...Object.fromEntries(
        GUEST_MODULES.map(({ path }) => [`${MODULES}/${path}.ko.xz`, xzStored(encode(`module ${path}`))]),
      ),
    },
    busyboxFiles: { "usr/bin/busybox": encode("busybox's program") },
    without: () => false,
    release: { origin: "Debian", codename: "trixie" },
    sign: (text) =>
      Promise.resolve(
        `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n${text}\n-----BEGIN PGP SIGNATURE-----\n\nnone\n-----END PGP SIGNATURE-----\n`,
      ),
  };
}

/** A running archive. */
export interface FakeArchive extends AsyncDisposable {
  readonly mirror: string;
  /** The files as served, by path; a test may change or remove them. */
  readonly files: Map<string, Uint8Array<ArrayBuffer>>;
  /** Paths whose connection is cut in the middle. */
  readonly cut: Set<string>;
  /** Paths that answer with half of the file and then nothing more. */
  readonly stalled: Set<string>;
  /** Paths asked for so far. */
  readonly asked: string[];
}

/** Serves the content until disposed. */
export async function serveArchive(content: ArchiveContent = wholeContent()): Promise<FakeArchive> {
  const files = await archiveFiles(content);
  const cut = new Set<string>();
  const stalled = new Set<string>();
  const asked: string[] = [];
  const stop = new AbortController();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, signal: stop.signal, onListen() {} }, (request) => {
    const path = new URL(request.url).pathname.replace(/^\/debian/, "");
    asked.push(path);
    const file = files.get(path);
    if (!file) return new Response("none", { status: 404, statusText: "Not Found" });
    if (!cut.has(path) && !stalled.has(path)) return new Response(file);
    const half = new ReadableStream({
      start(controller) {
        controller.enqueue(file.slice(0, file.length / 2));
        if (cut.has(path)) controller.close();
      },
    });
    return new Response(half, { headers: { "content-length": String(file.length) } });
  });
  return {
    mirror: `http://127.0.0.1:${server.addr.port}/debian`,
    files,
    cut,
    stalled,
    asked,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await server.finished;
    },
  };
}

async function archiveFiles(content: ArchiveContent): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const kernel = deb(content.kernelFiles);
  const busybox = deb(content.busyboxFiles);
  const index = xzStored(encode(
    [
      stanza("aaa", "1", PATHS.busybox, busybox),
      stanza("busybox-static", "1:1.37.0-6", PATHS.busybox, busybox),
      stanza(KERNEL, "6.12.1-1", PATHS.kernel, kernel, "kmod, initramfs-tools (>= 0.120) | linux-initramfs-tool"),
      stanza("linux-image-riscv64", "6.12.1-1", PATHS.kernel, kernel, `${KERNEL} (= 6.12.1-1)`),
    ].filter((each) => !content.without(each)).join("\n"),
  ));
  const { origin, codename } = content.release;
  const release = [
    `Origin: ${origin}`,
    `Codename: ${codename}`,
    "SHA256:",
    ` ${"0".repeat(64)} 1 main/binary-amd64/Packages.xz`,
    ` ${sha256(index)} ${index.length} main/binary-riscv64/Packages.xz`,
    "",
  ].join("\n");
  return new Map([
    [PATHS.release, encode(await content.sign(release))],
    [PATHS.index, index],
    [PATHS.kernel, kernel],
    [PATHS.busybox, busybox],
  ]);
}

function stanza(name: string, version: string, path: string, file: Uint8Array, depends?: string): string {
  return [
    `Package: ${name}`,
    `Version: ${version}`,
    ...depends ? [`Depends: ${depends}`] : [],
    "Description: a package",
    " with a longer description",
    `Filename: ${path.slice(1)}`,
    `Size: ${file.length}`,
    `SHA256: ${sha256(file)}`,
    "",
  ].join("\n");
}

/** A Debian package of these files. */
export function deb(files: Record<string, Uint8Array>): Uint8Array<ArrayBuffer> {
  const member = (name: string, data: Uint8Array) => [
    encode(`${name.padEnd(16)}${"0".padEnd(12)}${"0".padEnd(6)}${"0".padEnd(6)}${"100644".padEnd(8)}`),
    encode(`${String(data.length).padEnd(10)}\`\n`),
    data,
    new Uint8Array(data.length % 2),
  ];
  return concat([
    encode("!<arch>\n"),
    ...member("debian-binary", encode("2.0\n")),
    ...member("control.tar.xz", encode("odd")),
    ...member("data.tar.xz", xzStored(tar(files))),
  ]);
}

function tar(files: Record<string, Uint8Array>): Uint8Array {
  const entry = (path: string, type: string, data: Uint8Array) => {
    const header = new Uint8Array(512);
    const put = (at: number, text: string) => header.set(encode(text), at);
    put(0, `./${path}`);
    put(100, "0000644\0" + "0000000\0" + "0000000\0");
    put(124, `${data.length.toString(8).padStart(11, "0")}\0${"0".repeat(11)}\0${" ".repeat(8)}${type}`);
    put(257, "ustar\x0000");
    put(148, `${header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `);
    return [header, data, new Uint8Array((512 - data.length % 512) % 512)];
  };
  return concat([
    ...entry("", "5", new Uint8Array()),
    ...Object.entries(files).flatMap(([path, data]) => entry(path, "0", data)),
    new Uint8Array(1024),
  ]);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
