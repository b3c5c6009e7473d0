// Huge pages behind guest RAM, where the process may ask Linux for them: madvise(2), by FFI.

const SYMBOLS = {
  madvise: { parameters: ["buffer", "usize", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;
const MADV_HUGEPAGE = 14;
/** Less RAM is not worth the question. */
const LEAST = 16 * 2 ** 20;

/**
 * Asks for huge pages behind `length` bytes of a buffer: memory that is touched for the first time then comes in pieces
 * of 2 MiB, in place of 512 times as many of 4 KiB. It asks only where FFI is permitted already, and prompts nobody;
 * without an answer the memory is as good, but slower to come. `ram`: how much of it is guest RAM, if not all.
 */
export function askForHugePages(buffer: ArrayBufferLike, offset: number, length: number, ram: number = length): void {
  if (ram < LEAST || !("Deno" in globalThis) || Deno.build.os !== "linux") return;
  try {
    if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return;
    const libc = Deno.dlopen("libc.so.6", SYMBOLS);
    libc.symbols.madvise(new Uint8Array(buffer as ArrayBuffer, offset, length), BigInt(length), MADV_HUGEPAGE);
    libc.close();
  } catch {
    // Another C library, or a kernel without huge pages.
  }
}
