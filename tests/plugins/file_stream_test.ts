// Tests plugins/file_stream.ts.

import { assertRejects } from "@std/assert";
import file_stream from "../../plugins/file_stream.ts";
import { streamSuite } from "../support/backend_suites.ts";
import { Room } from "../support/room.ts";

streamSuite("file_stream", async () => {
  const path = Deno.makeTempFileSync();
  Deno.writeTextFileSync(path, "what was there before");
  const stream = await new Room().open(file_stream, { path });
  return {
    stream,
    async output() {
      const bytes = await Deno.readFile(path);
      await Deno.remove(path);
      return bytes;
    },
  };
});

Deno.test("file_stream refuses a place where no file can be", async () => {
  const open = () => new Room().open(file_stream, { path: Deno.cwd() }, { name: "serial0" });
  await assertRejects(open, Error, `Cannot open serial0: ${Deno.cwd()}: it is a directory`);
});
