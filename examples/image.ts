// Finds the files of a pulled image, as the command line lists them.

/** Paths of an image's files. */
export interface Image {
  readonly name: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly disk: string;
}

/** The image of that name. Throws with the command that pulls it if it is not here. */
export async function image(name = "debian-13"): Promise<Image> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", "cli", "images", "list", "--json"],
    cwd: new URL("..", import.meta.url),
    stderr: "inherit",
  }).output();
  const images: Image[] = JSON.parse(new TextDecoder().decode(stdout) || "[]");
  const found = images.find((image) => image.name === name);
  if (!found) throw new Error(`Pull the image first: deno task cli images pull ${name}`);
  return found;
}
