// Stripping of relocatable ELF files: what the kernel's loader needs stays, the rest goes.

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { stripModule } from "../../../cli/images/elf_strip.ts";

interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags?: number;
  readonly link?: number;
  readonly info?: number;
  readonly body: Uint8Array;
}

const encode = (text: string) => new TextEncoder().encode(text);

/** A relocatable file of the sections, numbered from 1; the names of sections come last. */
function elf(sections: readonly Section[]): Uint8Array {
  const names = encode(["", ...sections.map(({ name }) => name), ".shstrtab", ""].join("\0"));
  const all = [{ name: "", type: 0, body: new Uint8Array() }, ...sections, { name: ".shstrtab", type: 3, body: names }];
  const table = 64 + all.reduce((sum, { body }) => sum + Math.ceil(body.length / 8) * 8, 0);
  const file = new Uint8Array(table + all.length * 64);
  const view = new DataView(file.buffer);
  file.set([0x7f, ...encode("ELF"), 2, 1, 1]);
  view.setUint16(16, 1, true);
  view.setBigUint64(40, BigInt(table), true);
  view.setUint16(60, all.length, true);
  view.setUint16(62, all.length - 1, true);
  let at = 64;
  let name = 0;
  all.forEach((section, index) => {
    const header = table + index * 64;
    view.setUint32(header, index === 0 ? 0 : name, true);
    view.setUint32(header + 4, section.type, true);
    view.setBigUint64(header + 8, BigInt((section as Section).flags ?? 0), true);
    view.setBigUint64(header + 24, BigInt(at), true);
    view.setBigUint64(header + 32, BigInt(section.body.length), true);
    view.setUint32(header + 40, (section as Section).link ?? 0, true);
    view.setUint32(header + 44, (section as Section).info ?? 0, true);
    view.setBigUint64(header + 48, 8n, true);
    file.set(section.body, at);
    at += Math.ceil(section.body.length / 8) * 8;
    name += section.name.length + 1;
  });
  return file;
}

/** The sections of a file by name, with their numbers. */
function read(file: Uint8Array): Map<string, { index: number; info: number; body: Uint8Array }> {
  const view = new DataView(file.buffer, file.byteOffset);
  const table = Number(view.getBigUint64(40, true));
  const header = (index: number) => {
    const at = table + index * 64;
    const start = Number(view.getBigUint64(at + 24, true));
    const body = file.subarray(start, start + Number(view.getBigUint64(at + 32, true)));
    return { name: view.getUint32(at, true), info: view.getUint32(at + 44, true), body };
  };
  const names = header(view.getUint16(62, true)).body;
  const text = (at: number) => new TextDecoder().decode(names.subarray(at, names.indexOf(0, at)));
  return new Map(
    Array.from({ length: view.getUint16(60, true) }, (_, index) => {
      const { name, info, body } = header(index);
      return [text(name), { index, info, body }];
    }),
  );
}

function symbol(name: number, binding: 0 | 1, section: number, value: number): number[] {
  const bytes = new Uint8Array(24);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, name, true);
  bytes[4] = binding << 4;
  view.setUint16(6, section, true);
  view.setBigUint64(8, BigInt(value), true);
  return [...bytes];
}

function relocation(offset: number, symbolIndex: number): number[] {
  const view = new DataView(new ArrayBuffer(24));
  view.setBigUint64(0, BigInt(offset), true);
  view.setUint32(8, 2, true);
  view.setUint32(12, symbolIndex, true);
  return [...new Uint8Array(view.buffer)];
}

const ALLOC = 2;
const STRINGS = encode("\0unused\0label\0global\0debug\0");

function sample(): Uint8Array {
  return elf([
    { name: ".text", type: 1, flags: ALLOC, body: encode("code") },
    { name: ".rela.text", type: 4, link: 5, info: 1, body: new Uint8Array([...relocation(0, 2), ...relocation(2, 4)]) },
    { name: ".debug_info", type: 1, body: new Uint8Array(1000) },
    { name: ".rela.debug_info", type: 4, link: 5, info: 3, body: new Uint8Array(relocation(0, 3)) },
    {
      name: ".symtab",
      type: 2,
      link: 6,
      info: 4,
      body: new Uint8Array([
        ...symbol(0, 0, 0, 0),
        ...symbol(1, 0, 1, 1),
        ...symbol(8, 0, 1, 2),
        ...symbol(21, 0, 1, 3),
        ...symbol(14, 1, 1, 4),
      ]),
    },
    { name: ".strtab", type: 3, body: STRINGS },
  ]);
}

Deno.test("stripModule drops debug sections and symbols that no relocation names", () => {
  const before = sample();
  const after = stripModule(before);
  assert(after.length < before.length - 1000, `${after.length} of ${before.length} bytes`);

  const sections = read(after);
  assertEquals([...sections.keys()].filter((name) => name.includes("debug")), []);
  assertEquals(new TextDecoder().decode(sections.get(".text")!.body), "code");
  for (const name of [".text", ".rela.text", ".symtab", ".strtab"]) {
    assertEquals(sections.get(name)!.index, read(before).get(name)!.index, `${name} keeps its number`);
  }

  const { body: symbols, info: firstGlobal } = sections.get(".symtab")!;
  assertEquals(symbols.length / 24, 3);
  assertEquals(firstGlobal, 2);
  const view = new DataView(symbols.buffer, symbols.byteOffset);
  const names = sections.get(".strtab")!.body;
  const nameOf = (index: number) => {
    const at = view.getUint32(index * 24, true);
    return new TextDecoder().decode(names.subarray(at, names.indexOf(0, at)));
  };
  assertEquals([nameOf(1), nameOf(2)], ["label", "global"]);
  assertEquals(view.getBigUint64(24 + 8, true), 2n);

  const { body } = sections.get(".rela.text")!;
  const relocations = new DataView(body.buffer, body.byteOffset);
  assertEquals([relocations.getUint32(12, true), relocations.getUint32(24 + 12, true)], [1, 2]);
});

Deno.test("stripModule drops what is appended to the file, and changes nothing a second time", () => {
  const once = stripModule(new Uint8Array([...sample(), ...encode("~Module signature appended~\n")]));
  assert(!new TextDecoder().decode(once).includes("signature"));
  assertEquals(stripModule(once), once);
});

Deno.test("stripModule gives back what is not a relocatable ELF file", () => {
  const text = encode("not an ELF file, yet long enough to hold the header of one, were it one at all");
  assertStrictEquals(stripModule(text), text);
  assertEquals(stripModule(new Uint8Array()).length, 0);
});
