// Makes the data disk of a guest image: a sparse raw file, with an ext4 file system where the host has mke2fs(8).

const SIZE = 64 * 1024 * 1024;

/** Besides the search path: folders of the administrator, and of package managers that keep them off it. */
const FOLDERS = ["", "/usr/sbin/", "/sbin/", "/opt/homebrew/opt/e2fsprogs/sbin/", "/usr/local/opt/e2fsprogs/sbin/"];

/** Makes the disk at `path`; tells whether it has a file system. */
export async function makeDataDisk(path: string): Promise<boolean> {
  await Deno.writeFile(path, new Uint8Array(), { createNew: true });
  await Deno.truncate(path, SIZE);
  const args = ["-q", "-F", "-t", "ext4", "-L", "data", "-m", "0", "-E", "root_owner=0:0", path];
  for (const folder of FOLDERS) {
    try {
      const { success } = await new Deno.Command(`${folder}mke2fs`, { args, stdout: "null", stderr: "null" }).output();
      if (success) return true;
    } catch {
      // Not there: look in the next folder.
    }
  }
  await Deno.truncate(path, 0);
  await Deno.truncate(path, SIZE);
  return false;
}
