// Compiled code that outlives its machine: which regions of which pages it is for, and how that is written to a file.

import { integer, list, object, type Schema, string } from "../../../core/schema.ts";
import { PAGE_BYTES } from "../layout.ts";
import type { Region } from "./region.ts";

/** Regions that are kept, at the most. */
const MAX_KEPT = 1024;

/** A region that is kept: where it starts, and which instructions of its page belong to it (a bit for each halfword). */
export interface KeptRegion {
  readonly page: number;
  readonly offset: number;
  readonly optimized: boolean;
  readonly reached: Bytes;
}

type Bytes = Uint8Array<ArrayBuffer>;
/** A page's content: words are faster to compare than bytes. */
export type PageContent = Int32Array;

const WORDS = PAGE_BYTES / 4;
const REACHED_BYTES = PAGE_BYTES / 16;

/** Regions by the content of the pages that they were compiled from: the same code at another place is the same. */
export class CodeRecord {
  readonly pages: PageContent[] = [];
  readonly #byHash = new Map<number, number[]>();
  /** By page and offset. */
  readonly #regions = new Map<number, KeptRegion>();

  get regions(): KeptRegion[] {
    return [...this.#regions.values()];
  }

  /** The number of the page with that content, if it has regions. */
  find(content: PageContent): number | undefined {
    return this.#byHash.get(sumOf(content))?.find((page) => this.pages[page].every((word, i) => word === content[i]));
  }

  /** Takes note of a region that was compiled from a page, or found to be of one. */
  note(content: PageContent, { offset, optimized, reached }: Omit<KeptRegion, "page">): void {
    const known = this.find(content);
    if (this.#regions.size === MAX_KEPT && !this.#regions.has(known! * PAGE_BYTES + offset)) return;
    const page = known ?? this.add(content.slice());
    this.#regions.set(page * PAGE_BYTES + offset, { page, offset, optimized, reached });
  }

  /** Takes note of what another record has besides. */
  addMissing({ pages, regions }: CodeRecord): void {
    for (const region of regions) {
      const page = this.find(pages[region.page]);
      if (page === undefined || !this.#regions.has(page * PAGE_BYTES + region.offset)) {
        this.note(pages[region.page], region);
      }
    }
  }

  add(content: PageContent): number {
    const page = this.pages.push(content) - 1;
    const key = sumOf(content);
    const pages = this.#byHash.get(key);
    if (pages) pages.push(page);
    else this.#byHash.set(key, [page]);
    return page;
  }
}

/** The instructions of a region, a bit for each halfword of its page. */
export function reachedBy(region: Region): Bytes {
  const reached = new Uint8Array(REACHED_BYTES);
  for (const { offset, instructions } of region.values()) {
    let at = offset;
    for (const { length } of instructions) {
      reached[at >> 4] |= 1 << (at >> 1 & 7);
      at += length;
    }
  }
  return reached;
}

/** Whether a bit is set there for the instruction at an offset. */
export function isReachedIn(reached: Bytes, offset: number): boolean {
  return (reached[offset >> 4] >> (offset >> 1 & 7) & 1) === 1;
}

/** A sum that another content has, most likely. */
export function sumOf(content: PageContent): number {
  let sum = 0;
  for (let i = 0; i < content.length; i++) sum = Math.imul(sum ^ content[i], 0x9e3779b1) ^ sum >>> 15;
  return sum;
}

// ------------------------------------------------------------ the file

/** What stands in front of the pages, as JSON behind the mark and its length. */
interface Head {
  /** What the code was made for: see {@linkcode RegionModules.form}. */
  readonly form: string;
  readonly pages: number;
  /** Of each region: its page, its offset in halfwords, and 1 if it is optimized. */
  readonly regions: readonly number[];
  /** Bytes of the module. */
  readonly code: number;
}
const HEAD: Schema<Head> = object({
  form: string,
  pages: integer({ min: 0, max: MAX_KEPT }),
  regions: list(integer({ min: 0, max: PAGE_BYTES / 2 - 1 })),
  code: integer({ min: 0 }),
});
const HEAD_NUMBERS = 3;

const MARK = 0x3143_5644; // "DVC1"

/** What is kept: a record of regions, and a module with a function for each of them, in order: `r0`, `r1`… */
export class KeptCode {
  private constructor(readonly record: CodeRecord, readonly code: Bytes) {}

  /** Reads a file of code that was made for the same `form` of engine; undefined for anything else. */
  static read(file: Uint8Array, form: string): KeptCode | undefined {
    if (file.length < 12 || file.length % 4) return undefined;
    const words = new Int32Array(file.slice().buffer);
    const bytes = new Uint8Array(words.buffer);
    if (words[0] !== MARK || words.at(-1) !== sumOf(words.subarray(0, -1))) return undefined;
    let head: Head;
    try {
      head = HEAD.parse(JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + words[1]))), "head");
    } catch {
      return undefined; // no JSON, or not such a head
    }
    const { pages, regions, code } = head;
    const count = regions.length / HEAD_NUMBERS;
    const at = placesIn(words[1], pages, count, code);
    if (head.form !== form || at.end !== file.length - 4) return undefined;
    const record = new CodeRecord();
    for (let i = 0; i < pages; i++) record.add(words.subarray((at.pages + i * PAGE_BYTES) / 4).subarray(0, WORDS));
    for (let i = 0; i < count; i++) {
      const [page, halfword, optimized] = regions.slice(i * HEAD_NUMBERS, (i + 1) * HEAD_NUMBERS);
      if (page >= pages) return undefined;
      const reached = bytes.subarray(at.reached + i * REACHED_BYTES).subarray(0, REACHED_BYTES);
      record.note(record.pages[page], { offset: 2 * halfword, optimized: optimized === 1, reached });
    }
    if (record.regions.length !== count) return undefined; // two of them are one, or one is none
    return new KeptCode(record, bytes.subarray(at.code, at.code + code));
  }

  /** Writes the file. */
  static write({ pages, regions }: CodeRecord, code: Uint8Array, form: string): Bytes {
    const head: Head = {
      form,
      pages: pages.length,
      regions: regions.flatMap(({ page, offset, optimized }) => [page, offset / 2, Number(optimized)]),
      code: code.length,
    };
    const text = new TextEncoder().encode(JSON.stringify(head));
    const at = placesIn(Math.ceil(text.length / 4) * 4, pages.length, regions.length, code.length);
    const words = new Int32Array(at.end / 4 + 1);
    const file = new Uint8Array(words.buffer);
    words[0] = MARK;
    words[1] = at.pages - 8;
    file.fill(0x20, 8, at.pages); // JSON may end with blanks
    file.set(text, 8);
    pages.forEach((page, i) => words.set(page, (at.pages + i * PAGE_BYTES) / 4));
    regions.forEach(({ reached }, i) => file.set(reached, at.reached + i * REACHED_BYTES));
    file.set(code, at.code);
    words[words.length - 1] = sumOf(words.subarray(0, -1));
    return file;
  }
}

/** Where the parts of a file start, behind a head of so many bytes; the sum over all of them comes at the end. */
function placesIn(head: number, pages: number, regions: number, code: number) {
  const start = 8 + head;
  const reached = start + pages * PAGE_BYTES;
  const codeAt = reached + regions * REACHED_BYTES;
  return { pages: start, reached, code: codeAt, end: codeAt + Math.ceil(code / 4) * 4 };
}
