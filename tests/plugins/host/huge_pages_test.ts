// Huge pages: they are behind memory that was asked for, and in nobody's way elsewhere.

import { assert, assertEquals } from "@std/assert";
import { askForHugePages } from "../../../plugins/host/huge_pages.ts";

const SETTING = "/sys/kernel/mm/transparent_hugepage/enabled";
const PAGES = 1024; // of 64 KiB

/** Why there are none here. */
function obstacle(): string | undefined {
  if (Deno.build.os !== "linux") return "Huge pages are Linux's";
  try {
    const setting = Deno.readTextFileSync(SETTING);
    return setting.includes("[never]") ? `${SETTING} says never` : undefined;
  } catch {
    return `There is no ${SETTING}`;
  }
}

/** Bytes of this process's memory that are in huge pages. */
function hugeBytes(): number {
  return Number(/AnonHugePages:\s+(\d+) kB/.exec(Deno.readTextFileSync("/proc/self/smaps_rollup"))![1]) * 1024;
}

const why = obstacle();
if (why) console.log(`Skipped: ${why}`);

Deno.test({
  name: "memory that huge pages were asked for comes in huge pages, shared or not",
  ignore: why !== undefined,
  fn() {
    for (const shared of [false, true]) {
      const { buffer } = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared });
      askForHugePages(buffer, 65536, buffer.byteLength - 65536);
      const before = hugeBytes();
      new Uint8Array(buffer).fill(1);
      assert(hugeBytes() > before, "no page of it is huge");
    }
  },
});

Deno.test("without the permission nobody is asked, and nothing is amiss", async () => {
  const module = new URL("../../../plugins/host/huge_pages.ts", import.meta.url).href;
  const code = `import { askForHugePages } from ${JSON.stringify(module)};
    askForHugePages(new ArrayBuffer(2 ** 26), 0, 2 ** 26); console.log("done");`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-check", "--deny-ffi", `data:application/typescript,${encodeURIComponent(code)}`],
  }).output();
  const [said, wrong] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assertEquals([said, wrong], ["done\n", ""]);
});
