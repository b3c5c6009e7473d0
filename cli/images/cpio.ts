// A writer of "newc" cpio archives, the kernel's initramfs format (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).

/** A directory (neither `data` nor `target`), a file (`data`) or a symbolic link (`target`). */
export interface CpioEntry {
  /** Without a leading slash; a folder comes before what it holds. */
  readonly path: string;
  readonly data?: Uint8Array;
  readonly target?: string;
  /** A file may be run. */
  readonly executable?: boolean;
}

const MAGIC = "070701";
const TRAILER = "TRAILER!!!";
const TYPE = { directory: 0o040755, file: 0o100644, executable: 0o100755, link: 0o120777 } as const;
const ALIGNMENT = 4;

const encoder = new TextEncoder();

/** An archive of the entries, all owned by root and dated 1970: equal entries make equal bytes. */
export function cpio(entries: readonly CpioEntry[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const put = (part: Uint8Array) => {
    const padding = (ALIGNMENT - (length + part.length) % ALIGNMENT) % ALIGNMENT;
    parts.push(part, new Uint8Array(padding));
    length += part.length + padding;
  };
  const record = (inode: number, mode: number, path: string, data: Uint8Array) => {
    const name = encoder.encode(`${path}\0`);
    const links = mode === TYPE.directory ? 2 : 1;
    const [user, group, time, major, minor, deviceMajor, deviceMinor, checksum] = [0, 0, 0, 0, 0, 0, 0, 0];
    const fields = [inode, mode, user, group, links, time, data.length, major, minor, deviceMajor, deviceMinor];
    const header = [...fields, name.length, checksum].map((value) => value.toString(16).padStart(8, "0")).join("");
    put(new Uint8Array([...encoder.encode(MAGIC + header), ...name]));
    put(data);
  };

  entries.forEach(({ path, data, target, executable }, index) => {
    if (target !== undefined) return record(index + 1, TYPE.link, path, encoder.encode(target));
    if (data) return record(index + 1, executable ? TYPE.executable : TYPE.file, path, data);
    record(index + 1, TYPE.directory, path, new Uint8Array());
  });
  record(0, 0, TRAILER, new Uint8Array());

  const archive = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    archive.set(part, at);
    at += part.length;
  }
  return archive;
}
