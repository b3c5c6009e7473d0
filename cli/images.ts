// `denovisor images`: guest images that are pulled, listed and removed.

import { Stop } from "./errors.ts";
import { InterruptedError } from "./images/errors.ts";
import { mebibytes } from "./images/progress.ts";
import { PULLABLE, pullImage } from "./images/pull.ts";
import { type GuestImage, listImages, removeImage } from "./images/store.ts";
import { noOperands, type Option, optionRows, parseOptions, UsageError } from "./options.ts";
import { columns, type Help, helpPage } from "./text.ts";

export { NoMirrorError } from "./images/errors.ts";
export { GUEST_PROMPT } from "./images/guest_init.ts";
export { pullImage, type PullOptions } from "./images/pull.ts";
export { findImage, type GuestImage } from "./images/store.ts";

interface Command {
  readonly options: readonly Option[];
  readonly help: Omit<Help, "table">;
  /** Gives the exit code. */
  run(args: ReturnType<typeof parseOptions>): Promise<number>;
}

const INTERRUPTED = 130;

const COMMANDS: Readonly<Record<string, Command>> = {
  pull: {
    options: [
      { name: "mirror", value: "URL", text: "the archive's address, up to before /dists" },
      { name: "force", text: "pull again an image that is there; its disk is kept" },
      { name: "quiet", text: "say nothing but what is wrong" },
    ],
    help: {
      about: "Make a guest image from a Debian archive: a kernel, an initramfs with busybox, and a data disk.",
      usage: [`images pull ${PULLABLE.join("|")} [--mirror URL] [--force] [--quiet]`],
      notes: [
        "Without --mirror the archive is that of the environment's DENOVISOR_MIRROR, or of this host's package\n" +
        "sources. Its signature is checked where gpgv and Debian's keyring are there, the hashes always.",
      ],
    },
    async run(args) {
      const name = oneName(args.operands, "pull");
      const options = { mirror: args.one("mirror"), force: args.flags.has("force"), quiet: args.flags.has("quiet") };
      const image = await pullImage(name, options).catch((error) => {
        throw error instanceof InterruptedError ? new Stop(INTERRUPTED, error.message) : error;
      });
      if (!options.quiet) console.error(`${name} is ready: denovisor run --image ${image.name}`);
      return 0;
    },
  },
  list: {
    options: [{ name: "json", text: "print JSON" }],
    help: { about: "List the guest images that are here.", usage: ["images list [--json]"] },
    async run(args) {
      noOperands(args, "images list");
      const images = await listImages();
      console.log(args.flags.has("json") ? JSON.stringify(images, null, 2) : table(images));
      return 0;
    },
  },
  rm: {
    options: [],
    help: { about: "Remove a guest image, its disk included.", usage: ["images rm NAME"] },
    async run(args) {
      await removeImage(oneName(args.operands, "rm"));
      return 0;
    },
  },
};

const HELP: Help = {
  about: "Guest images: a kernel, an initramfs and a disk, kept in your cache folder (or in DENOVISOR_CACHE).",
  usage: ["images pull|list|rm …", "images COMMAND --help"],
  table: Object.entries(COMMANDS).map(([name, { help }]) => [name, help.about] as const),
  notes: [
    'A guest obeys two words of its kernel\'s command line (run --append): denovisor.init="COMMAND" runs that\n' +
    "instead of a shell and then powers off, denovisor.ip=ADDRESS/BITS sets an address instead of asking by DHCP.",
  ],
};

/** `denovisor images …`; gives the exit code. */
export async function imagesCommand([name, ...args]: readonly string[]): Promise<number> {
  if (name === "--help" || name === "-h") {
    console.log(helpPage(HELP));
    return 0;
  }
  if (name === undefined || !Object.hasOwn(COMMANDS, name)) {
    const found = name === undefined ? "images wants a command" : `There is no command images ${name}`;
    throw new UsageError(`${found}: ${Object.keys(COMMANDS).join(", ")}; see denovisor images --help`);
  }
  const command = COMMANDS[name];
  const parsed = parseOptions(args, command.options, `images ${name}`);
  if (parsed.flags.has("help")) {
    console.log(helpPage({ ...command.help, table: optionRows(command.options) }));
    return 0;
  }
  return await command.run(parsed);
}

function oneName(operands: readonly string[], command: string): string {
  if (operands.length === 1) return operands[0];
  throw new UsageError(
    `images ${command} wants one name, such as ${PULLABLE[0]}: see denovisor images ${command} --help`,
  );
}

function table(images: readonly GuestImage[]): string {
  if (!images.length) return `There are no images yet: denovisor images pull ${PULLABLE[0]} gets one`;
  return columns([
    ["NAME", "VERSION", "SIZE", "FOLDER"],
    ...images.map(({ name, version, size, kernel }) => [name, version, mebibytes(size), folderOf(kernel)]),
  ]);
}

function folderOf(path: string): string {
  return path.replace(/[/\\][^/\\]*$/, "");
}
