// deno task bench: measures denovisor, in turns with QEMU where it is installed, and prints one table.

import { parseArgs } from "@std/cli/parse-args";
import { guestImage } from "../support/linux_guest.ts";
import { qemuVersion, versionOf } from "../support/qemu.ts";
import { BARE, measureBare } from "./bare.ts";
import type { Bench } from "./bench.ts";
import { BOOTS, measureBoot } from "./boot.ts";
import { COMPILER } from "./build.ts";
import { Denovisor, Qemu } from "./contestants.ts";
import { DISK, measureLinux, PROGRAM_GROUPS } from "./linux.ts";
import { lockHost } from "./lock.ts";
import { measureNetwork, NETWORK } from "./network.ts";
import { type Group, Results, type Row } from "./results.ts";

const HELP = `Usage: deno task bench [--rounds N] [--only NAME]…

  --rounds N    how often each is measured, in turns; default 3
  --only NAME   only the rows, or groups of rows, whose names hold NAME
  --no-qemu     denovisor alone
  --list        print the names`;

const PARTS: readonly { groups: readonly Group[]; compiler: boolean; measure(bench: Bench): Promise<void> }[] = [
  { groups: [BARE], compiler: true, measure: measureBare },
  { groups: [BOOTS], compiler: false, measure: measureBoot },
  { groups: [DISK, ...PROGRAM_GROUPS], compiler: false, measure: measureLinux },
  { groups: [NETWORK], compiler: false, measure: measureNetwork },
];
const GROUPS = PARTS.flatMap(({ groups }) => groups);

async function main(): Promise<number> {
  const options = parseArgs(Deno.args, {
    boolean: ["help", "list", "no-qemu"],
    string: ["rounds", "only"],
    collect: ["only"],
    unknown(arg): never {
      console.error(`There is no option ${arg}: deno task bench --help`);
      Deno.exit(1);
    },
  });
  if (options.help) {
    console.log(HELP);
    return 0;
  }
  if (options.list) {
    for (const { name, rows } of GROUPS) console.log([name, ...rows.map((row) => `  ${row.name}`)].join("\n"));
    return 0;
  }
  const rounds = Number(options.rounds ?? 3);
  if (!Number.isInteger(rounds) || rounds < 1) {
    console.error(`--rounds wants a whole number from 1, got ${JSON.stringify(options.rounds)}`);
    return 1;
  }

  const chosen = new Set<Row>();
  for (const { name, rows } of GROUPS) {
    for (const row of rows) {
      if (!options.only.length || options.only.some((only) => name.includes(only) || row.name.includes(only))) {
        chosen.add(row);
      }
    }
  }
  const image = await guestImage();
  if (!image) return 1;
  const alone = options["no-qemu"];
  const qemu = alone ? undefined : await qemuVersion();
  if (!qemu && !alone) console.error("QEMU is left out: it is not installed (package qemu-system-misc)");
  const compiler = await versionOf(COMPILER) !== undefined;
  if (!compiler) {
    console.error(`The guests' programs are left out: there is no ${COMPILER} (package gcc-riscv64-linux-gnu)`);
  }

  using _lock = await lockHost();
  const folder = await Deno.makeTempDir({ prefix: "denovisor_bench_" });
  const results = new Results();
  const denovisor = await Denovisor.open();
  const bench: Bench = {
    contestants: qemu ? [denovisor, new Qemu()] : [denovisor],
    ...{ rounds, image, folder, compiler, results },
    wants: (row) => chosen.has(row),
  };
  let failed = false;
  for (const { groups, compiler: needed, measure } of PARTS) {
    if (needed && !compiler || !groups.some(({ rows }) => rows.some(bench.wants))) continue;
    await measure(bench).catch((error) => {
      console.error(error);
      failed = true;
    });
  }
  await Deno.remove(folder, { recursive: true });
  console.log(`\nDeno ${Deno.version.deno}, ${qemu ?? "no QEMU"}; Linux ${image.version}; rounds: ${rounds}\n`);
  console.log(results.table(GROUPS));
  return failed ? 1 : 0;
}

if (import.meta.main) Deno.exit(await main());
