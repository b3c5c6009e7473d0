// A process that is nothing but a console: says back in capitals what it reads. Its argument names a way to end.

import stdio_console from "../../plugins/stdio_console.ts";
import { Room } from "./room.ts";

const way = Deno.args[0] ?? "end";
const stopped = Promise.withResolvers<void>();
if (way === "listen") Deno.addSignalListener("SIGTERM", stopped.resolve);
const ended = Promise.withResolvers<null>();
const stream = await new Room().open(stdio_console, {}, { quit: () => ended.resolve(null) });
await stream.write(new TextEncoder().encode("ready\n"));

for (;;) {
  const bytes = await Promise.race([stream.read(16), ended.promise]);
  if (bytes === null) break;
  if (bytes.length > 16) throw new Error("more than was asked for");
  await stream.write(new TextEncoder().encode(new TextDecoder().decode(bytes).toUpperCase()));
  if (way === "exit") Deno.exit(7);
  if (way === "throw") throw new Error("on purpose");
  if (way === "signal" || way === "listen") Deno.kill(Deno.pid, "SIGTERM");
  if (way === "listen") {
    await stopped.promise;
    // Orderly disposal takes its time.
    await new Promise((resolve) => setTimeout(resolve, 100));
    break;
  }
}
await stream.write(new TextEncoder().encode("bye\n"));
await stream.close?.();
if (way === "listen") Deno.exit(5);
