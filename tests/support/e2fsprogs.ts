// The host's own tools for ext4, as a referee over what guests leave on their disks.

const decoder = new TextDecoder();

async function run(program: string, ...args: string[]): Promise<{ code: number; out: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  })
    .output();
  return { code, out: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** Whether the tools are there; if not, prints why what needs them is skipped. */
export async function hasE2fsprogs(): Promise<boolean> {
  for (const program of ["mke2fs", "e2fsck", "debugfs"]) {
    try {
      await run(program, "-V");
    } catch {
      console.error(`No file system is checked here: this host has no ${program} (Debian's e2fsprogs)`);
      return false;
    }
  }
  return true;
}

/** Makes an empty ext4 in a file of that many bytes. */
export async function makeExt4(path: string, bytes: number): Promise<void> {
  await Deno.writeFile(path, new Uint8Array());
  await Deno.truncate(path, bytes);
  const { code, out } = await run("mke2fs", "-q", "-F", "-t", "ext4", path);
  if (code !== 0) throw new Error(`mke2fs: ${out}`);
}

/** Replays the journal; then tells what a full check finds wrong, which is nothing in an intact file system. */
export async function checkExt4(path: string): Promise<string> {
  const replay = await run("e2fsck", "-y", "-E", "journal_only", path);
  if (replay.code > 1) return `the journal can not be replayed: ${replay.out}`;
  const { code, out } = await run("e2fsck", "-f", "-n", path);
  return code === 0 ? "" : out;
}

/** The regular files in the root directory, by name. */
export async function readExt4(path: string): Promise<Map<string, Uint8Array>> {
  const folder = await Deno.makeTempDir();
  try {
    const { out } = await run("debugfs", "-R", `rdump / ${folder}`, path);
    const files = new Map<string, Uint8Array>();
    for await (const { name, isFile } of Deno.readDir(folder)) {
      if (isFile) files.set(name, await Deno.readFile(`${folder}/${name}`));
    }
    if (files.size === 0 && /error/i.test(out)) throw new Error(`debugfs: ${out}`);
    return files;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
