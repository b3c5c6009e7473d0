// Reads Debian packages and xz streams piece by piece (deb(5), ar(5)); xz and tar by libraries that nothing else loads.

import { ImageError } from "./errors.ts";

/** A regular file inside a package. */
export interface PackedFile {
  /** Without a leading `./` or `/`. */
  readonly path: string;
  stream(): ReadableStream<Uint8Array>;
  bytes(): Promise<Uint8Array>;
}

const AR = { magic: "!<arch>\n", header: 60, nameEnd: 16, sizeStart: 48, sizeEnd: 58 };
const CHUNK_SIZE = 64 * 1024;
/** A kernel's package unpacks to some 150 MB, its largest file has some 40: what is far more is a trap. */
const MAX_STREAM = 2 ** 30;
const MAX_FILE = 2 ** 28;
/** What stands before a file's content, long names and attributes too: tar's reader holds it in memory. */
const MAX_HEADERS = 2 ** 20;

/**
 * The regular files in the package at `path`, in order; one must be read, if at all, before the next is asked for.
 * `advance` hears how many of the package's bytes were read.
 */
export async function* packageFiles(
  path: string,
  advance: (bytes: number) => void = () => {},
): AsyncGenerator<PackedFile> {
  const { TarFile, untar } = await import("multitars");
  using file = await Deno.open(path);
  const { name, size } = await findData(file, path);
  let taken = 0;
  let most = MAX_HEADERS;
  async function* bounded(archive: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of archive) {
      yield piece;
      taken += piece.length;
      if (taken > most) throw new ImageError(`${path} holds more than ${MAX_HEADERS} bytes of headers: too large`);
    }
  }
  for await (const entry of whole(path, untar(bounded(decompressed(name, pieces(file, size, advance)))))) {
    most = taken + entry.size + MAX_HEADERS;
    if (!(entry instanceof TarFile)) continue;
    const content = () => whole(path, entry.stream());
    yield {
      path: entry.name.replace(/^\.?\/+/, ""),
      stream: () => ReadableStream.from(content()),
      bytes() {
        if (entry.size > MAX_FILE) throw new ImageError(`${path} holds a file of ${entry.size} bytes: too large`);
        return collect(content());
      },
    };
  }
}

/** The same pieces; what the library says of a broken archive becomes an {@linkcode ImageError}. */
async function* whole<T>(path: string, pieces: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* pieces;
  } catch (error) {
    const ofTheHost = error instanceof Error && ("code" in error || error.name === "AbortError");
    if (ofTheHost || error instanceof ImageError) throw error;
    throw new ImageError(`${path} is not a whole Debian package`, { cause: error });
  }
}

/**
 * Decompresses an xz stream, of which no more than `limit` bytes may come.
 * Throws an {@linkcode ImageError} when it is broken, or larger.
 */
export async function* unxz(
  compressed: AsyncIterable<Uint8Array>,
  limit: number = MAX_STREAM,
): AsyncGenerator<Uint8Array> {
  let length = 0;
  const { default: { XzReadableStream } } = await import("xz-decompress");
  const reader = new XzReadableStream(ReadableStream.from(compressed)).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw error instanceof Error && /get_next_output|null/.test(error.message)
          ? new ImageError("A compressed file is broken: run the command again")
          : error;
      });
      if (done) return;
      length += value.length;
      if (length > limit) {
        throw new ImageError(`A compressed file holds more than ${limit} bytes: give another --mirror`);
      }
      yield value;
    }
  } finally {
    // The library lets one stream be read at a time, and frees a finished one twice.
    await reader.cancel().catch(() => {});
  }
}

/** All of a short stream. */
export async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  return await new Response(ReadableStream.from(pieces)).bytes();
}

/** Bytes as the readers here take them. */
export async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** The bytes of a file, from its current position on; `advance` hears how many. */
export async function* pieces(
  file: Deno.FsFile,
  length: number = Infinity,
  advance: (bytes: number) => void = () => {},
): AsyncGenerator<Uint8Array> {
  while (length > 0) {
    const buffer = new Uint8Array(Math.min(CHUNK_SIZE, length));
    const read = await file.read(buffer);
    if (read === null) return;
    length -= read;
    advance(read);
    yield buffer.subarray(0, read);
  }
}

/** Puts the file at the start of the package's `data.tar` and tells the member's name and length. */
async function findData(file: Deno.FsFile, path: string): Promise<{ name: string; size: number }> {
  const broken = new ImageError(`${path} is not a Debian package`);
  const text = async (length: number) => new TextDecoder("latin1").decode(await collect(pieces(file, length)));
  if (await text(AR.magic.length) !== AR.magic) throw broken;
  for (;;) {
    const header = await text(AR.header);
    if (header.length < AR.header) throw broken;
    const name = header.slice(0, AR.nameEnd).trim().replace(/\/$/, "");
    const size = Number(header.slice(AR.sizeStart, AR.sizeEnd));
    if (!Number.isSafeInteger(size) || size < 0) throw broken;
    if (name.startsWith("data.tar")) return { name, size };
    await file.seek(size + size % 2, Deno.SeekMode.Current);
  }
}

function decompressed(name: string, data: AsyncGenerator<Uint8Array>): AsyncIterable<Uint8Array> {
  switch (name.slice("data.tar".length)) {
    case "":
      return data;
    case ".xz":
      return unxz(data);
    default:
      throw new ImageError(`Cannot unpack ${name}: wanted data.tar or data.tar.xz`);
  }
}
