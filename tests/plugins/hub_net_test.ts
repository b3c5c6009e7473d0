// Tests plugins/hub_net.ts: a switch of several ports.

import { assertEquals, assertRejects } from "@std/assert";
import hub_net from "../../plugins/hub_net.ts";
import { answer, frame, netSuite, pattern } from "../support/backend_suites.ts";
import { Room } from "../support/room.ts";

const join = (room: Room, hub = "lan") => room.open(hub_net, { hub });

netSuite("hub_net", async () => {
  const room = new Room();
  return [await join(room), await join(room)];
});

async function three() {
  const room = new Room();
  return [await join(room), await join(room), await join(room)];
}

Deno.test("hub_net floods to all ports until it has learned an address, then sends to one", async () => {
  const [a, b, c] = await three();
  a.send({ frame: frame(2, 1) });
  assertEquals((await b.receive(9))?.length, 1);
  assertEquals((await c.receive(9))?.length, 1);
  b.send({ frame: frame(1, 2) });
  assertEquals((await a.receive(9))?.length, 1);
  a.send({ frame: frame(2, 1) });
  assertEquals((await b.receive(9))?.length, 1);
  assertEquals(await answer(c.receive(9)), "waiting", "the answer told where 1 is, and then 2");
});

Deno.test("hub_net follows an address that moves to another port", async () => {
  const [a, b, c] = await three();
  b.send({ frame: frame(1, 2) });
  c.send({ frame: frame(1, 2) });
  a.send({ frame: frame(2, 1) });
  assertEquals((await c.receive(9))?.map((packet) => packet.frame), [frame(1, 2), frame(2, 1)]);
  assertEquals((await b.receive(9))?.length, 1, "only what c sent before 1 was known");
});

Deno.test("hub_net gives broadcasts to everybody else, and one address's own frames to nobody", async () => {
  const [a, b, c] = await three();
  const broadcast = frame(1, 2);
  broadcast.fill(0xff, 0, 6);
  b.send({ frame: broadcast });
  for (const port of [a, c]) assertEquals((await port.receive(9))?.length, 1);
  b.send({ frame: frame(2, 2) });
  b.send({ frame: pattern(13) });
  for (const port of [a, b, c]) assertEquals(await answer(port.receive(9)), "waiting");
});

Deno.test("hub_net keeps hubs of other names and of other hypervisors apart", async () => {
  const room = new Room();
  const [a, b, c, d] = [await join(room), await join(room), await join(room, "wan"), await join(new Room())];
  a.send({ frame: frame(2, 1) });
  assertEquals((await b.receive(9))?.length, 1);
  for (const port of [c, d]) assertEquals(await answer(port.receive(9)), "waiting");
});

Deno.test("hub_net forgets a port that was closed", async () => {
  const [a, b, c] = await three();
  b.send({ frame: frame(1, 2) });
  await b.close?.();
  await c.receive(9);
  a.send({ frame: frame(2, 1) });
  assertEquals((await c.receive(9))?.length, 1, "flooded again");
});

Deno.test("hub_net survives a flood of source addresses", async () => {
  const [a, b] = await three();
  for (let source = 3; source < 10_000; source++) {
    a.send({ frame: frame(1, source) });
    await b.receive(9);
  }
  b.send({ frame: frame(9_999, 2) });
  assertEquals((await a.receive(9))?.length, 1);
});

Deno.test("hub_net has one answer about offloads for all of a hub", async () => {
  const room = new Room();
  assertEquals((await join(room)).offloads, true);
  const other = () => room.open(hub_net, { hub: "lan", offloads: false }, { name: "net1" });
  await assertRejects(other, TypeError, 'Cannot connect net1 to hub "lan": wanted offloads true, as others have it');
});
