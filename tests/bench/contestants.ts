// Who is measured: denovisor and QEMU, each run as a process with the guest's console on its standard input and output.

import { fromFileUrl } from "@std/path";
import type { MachineDescription } from "../../mod.ts";
import { GuestShell } from "../support/linux_guest.ts";
import { qemuCommand, type Setup } from "../support/qemu.ts";

/** A hypervisor. */
export interface Contestant {
  readonly name: "denovisor" | "QEMU";
  start(setup: Setup): Promise<GuestProcess>;
  /** Starts two machines with their network cards on one network; the server's console is not to be used. */
  startPair(server: Setup, client: Setup): Promise<GuestProcess>;
}

/** What a process has: what goes when it is gone, and variables of its environment. */
interface Surroundings {
  readonly owned?: AsyncDisposableStack;
  readonly env?: Readonly<Record<string, string>>;
}

/** A hypervisor's process, with a guest in it. */
export class GuestProcess implements AsyncDisposable {
  readonly shell: GuestShell;
  readonly #child: Deno.ChildProcess;
  readonly #owned: AsyncDisposableStack;

  constructor(
    [program, ...args]: readonly string[],
    { owned = new AsyncDisposableStack(), env = {} }: Surroundings = {},
  ) {
    const options = { args, env, stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
    this.#child = new Deno.Command(program, options).spawn();
    this.#owned = owned;
    this.shell = new GuestShell({ readable: this.#child.stdout, writable: this.#child.stdin });
  }

  /** Megabytes of the host's memory that the process holds now. */
  async residentMemory(): Promise<number> {
    const status = await Deno.readTextFile(`/proc/${this.#child.pid}/status`);
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024 / 1e6;
  }

  /** Waits until the guest is off. */
  async end(): Promise<void> {
    const { code } = await this.#child.status;
    if (code !== 0) throw new Error(`The hypervisor ended with code ${code}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
    await this.#child.status;
    await this.shell.ended;
    await this.#owned.disposeAsync();
  }
}

const root = fromFileUrl(new URL("../..", import.meta.url));

/** Denovisor, started as its users start it. */
export class Denovisor implements Contestant {
  readonly name = "denovisor";
  readonly #command: readonly string[];

  private constructor(command: readonly string[]) {
    this.#command = command;
  }

  static async open(): Promise<Denovisor> {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-qA", `${root}tests/offline_std/map.ts`],
    }).output();
    const map = new TextDecoder().decode(stdout).trim();
    return new Denovisor([
      ...[Deno.execPath(), "run", "-qA"],
      ...(map ? [map] : []),
      ...[`${root}cli/main.ts`, "run"],
    ]);
  }

  start(setup: Setup): Promise<GuestProcess> {
    return this.#run([describe(setup, "stdio_console")], setup.cache);
  }

  startPair(server: Setup, client: Setup): Promise<GuestProcess> {
    return this.#run([describe(client, "stdio_console"), describe(server, "null_stream")]);
  }

  /** Runs machines, which have nothing of an earlier run but what is in `cache`. */
  async #run(machines: MachineDescription[], cache?: string): Promise<GuestProcess> {
    const config = await Deno.makeTempFile({ prefix: "denovisor_bench_", suffix: ".json" });
    await Deno.writeTextFile(config, JSON.stringify(machines));
    const owned = new AsyncDisposableStack();
    owned.defer(() => Deno.remove(config));
    const command = [...this.#command, "--config", config];
    if (cache === undefined) return new GuestProcess([...command, "--cold"], { owned });
    return new GuestProcess(command, { owned, env: { DENOVISOR_CACHE: cache } });
  }
}

function describe(setup: Setup, console: string): MachineDescription {
  const { memory, kernel, initrd, append, bios, disk, mac, interpreted } = setup;
  const boot = Object.fromEntries(
    Object.entries({ kernel, initrd, append, bios }).filter(([, value]) => value !== undefined),
  );
  return {
    memory,
    boot,
    engine: { use: "riscv", config: { compiler: !interpreted } },
    devices: [
      { use: "serial_16550", backends: { stream: { use: console } } },
      { use: "virtio_rng", backends: { entropy: { use: "random_entropy" } } },
      ...(disk ? [{ use: "virtio_blk", backends: { block: { use: "file_disk", config: { path: disk } } } }] : []),
      ...(mac
        ? [{ use: "virtio_net", config: { mac }, backends: { net: { use: "hub_net", config: { hub: "lan" } } } }]
        : []),
    ],
  };
}

/** QEMU with its compiler (TCG). */
export class Qemu implements Contestant {
  readonly name = "QEMU";

  start(setup: Setup): Promise<GuestProcess> {
    return Promise.resolve(new GuestProcess(qemuCommand(setup)));
  }

  async startPair(server: Setup, client: Setup): Promise<GuestProcess> {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr as Deno.NetAddr;
    listener.close();
    const first = new GuestProcess(qemuCommand(server, `socket,listen=127.0.0.1:${port}`));
    await using onFailure = new AsyncDisposableStack();
    onFailure.use(first);
    // Once its firmware speaks, it listens.
    await first.shell.until("OpenSBI");
    const owned = onFailure.move();
    return new GuestProcess(qemuCommand(client, `socket,connect=127.0.0.1:${port}`), { owned });
  }
}
