// GNU binutils for RISC-V (Debian's binutils-riscv64-linux-gnu), as referees for the assembler and the disassembler.

const PREFIX = "riscv64-linux-gnu-";
const MARCH = "rv64imafd_zicsr_zifencei_zihintpause_zba_zbb_zbc_zbs_svinval";

async function run(tool: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(PREFIX + tool, { args }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Whether a tool of the binutils is there; if not, says so. */
export async function hasGnu(tool: "as" | "objdump"): Promise<boolean> {
  try {
    await run(tool, "--version");
    return true;
  } catch {
    console.log(`skipped: ${PREFIX}${tool} is not installed (package binutils-riscv64-linux-gnu)`);
    return false;
  }
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir();
  try {
    return await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Instructions of `size` bytes each as objdump writes them, from address 0 on; targets as `0x…`, no comments. */
export function objdump(instructions: readonly number[], size: 2 | 4): Promise<string[]> {
  return inFolder(async (folder) => {
    const source = instructions.map((bits) => `.insn ${size}, 0x${bits.toString(16)}\n`).join("");
    await Deno.writeTextFile(`${folder}/code.s`, source);
    await run("as", `-march=${MARCH.replace("imafd", "imafdc")}`, "-o", `${folder}/code.o`, `${folder}/code.s`);
    const listing = await run("objdump", "-D", "-M", "no-aliases", `${folder}/code.o`);
    return [...listing.matchAll(/^ +[0-9a-f]+:\t[0-9a-f ]+\t(.*)$/gm)].map(([, text]) =>
      text.replace(/\s+#.*$/, "").replace("\t", " ").replace(/([0-9a-f]+) <.*>$/, "0x$1").trim()
    );
  });
}

/** The bytes of an assembly text, linked to `base`. */
export function assembleByGnu(source: string, base: number): Promise<Uint8Array> {
  return inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/code.s`, source);
    await run("as", `-march=${MARCH}`, "-mno-relax", "-o", `${folder}/code.o`, `${folder}/code.s`);
    const linker = ["--no-relax", `-Ttext=0x${base.toString(16)}`, "-o", `${folder}/code.elf`, `${folder}/code.o`];
    await run("ld", ...linker);
    await run("objcopy", "-O", "binary", "-j", ".text", `${folder}/code.elf`, `${folder}/code.bin`);
    return await Deno.readFile(`${folder}/code.bin`);
  });
}
