// What one machine compiled, in the next one: taken from what is kept, noted while it runs, and written at the end.

import type { CodeCache } from "../code.ts";
import { PAGE_BYTES } from "../layout.ts";
import type { EngineMemory } from "../memory.ts";
import { CodeRecord, isReachedIn, KeptCode, type PageContent, reachedBy } from "./kept_code.ts";
import type { RegionModules } from "./modules.ts";
import type { PageReader, Region } from "./region.ts";
import type { RegionHead, Residents } from "./residents.ts";

/** Fewer regions are compiled again as fast; what is kept is made anew once so much of what ran was not in it. */
const LEAST = 16;
const NEWS = 0.1;

/** Keeps what is compiled from one machine to the next. */
export class Keeper {
  /** Regions that an earlier machine compiled, and this one runs. */
  adopted = 0;
  /** What this machine runs, and what an earlier one ran. */
  readonly #record = new CodeRecord();
  #earlier?: CodeRecord;

  constructor(
    readonly memory: EngineMemory,
    readonly code: CodeCache,
    readonly residents: Residents,
    readonly modules: RegionModules,
    readonly reader: PageReader,
  ) {}

  /** Takes what an earlier machine left, if it fits this one: its regions stand in their pages from the beginning. */
  use(file: Uint8Array): void {
    const { residents, modules } = this;
    const kept = KeptCode.read(file, modules.form);
    if (!kept || kept.code.length > residents.options.codeBytes / 2) return;
    const { record, code } = kept;
    try {
      residents.found(modules.functionsOf(code, record.regions.length), code.length);
    } catch {
      return; // no such module
    }
    this.#earlier = record;
    const byPage = Map.groupBy(record.regions.map((region, index) => ({ ...region, index })), ({ page }) => page);
    this.code.onPage = (page) => {
      const content = this.#content(page);
      for (const region of byPage.get(record.find(content) ?? -1) ?? []) {
        const { index, offset, optimized } = region;
        if (!residents.adopt(index, { entry: page + offset * 4, page, optimized })) continue;
        this.adopted++;
        this.#record.note(content, region);
      }
    };
  }

  /** Takes note of a region that was compiled, unless it begins across two pages: pages are kept one by one. */
  note({ entry, page, optimized }: RegionHead, region: Region): void {
    const offset = (entry - page) / 4;
    if (offset + region.get(offset)!.instructions[0].length > PAGE_BYTES) return;
    this.#record.note(this.#content(page), { offset, optimized, reached: reachedBy(region) });
  }

  /** What the next machine is to have, where this one `compiled` so many regions; nothing if it has most of it. */
  keep(compiled: number): Uint8Array<ArrayBuffer> | undefined {
    if (compiled < LEAST || compiled <= NEWS * this.adopted) return undefined;
    const record = this.#record;
    if (this.#earlier) record.addMissing(this.#earlier);
    const { pages, regions } = record;
    const views = pages.map(({ buffer, byteOffset }) => new DataView(buffer, byteOffset, PAGE_BYTES));
    const heads = Map.groupBy(regions, ({ page }) => page);
    const code = this.modules.write(regions.map((kept, index) => {
      const { page, offset, reached } = kept;
      const entries = heads.get(page)!.map((each) => each.offset);
      const region = this.reader.region(views[page], offset, (at) => isReachedIn(reached, at), entries);
      return { ...kept, index, region, grouped: true };
    }));
    return KeptCode.write(record, code, this.modules.form);
  }

  #content(page: number): PageContent {
    return new Int32Array(this.memory.wasm.buffer, this.code.hostOf(page), PAGE_BYTES / 4);
  }
}
