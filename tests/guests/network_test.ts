// Two Linux guests on one hub: they find each other, transfer data unharmed, and see their cables.

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { createHypervisor, defineBackend, type NetBackend, object } from "../../mod.ts";
import { guestImage, LinuxGuest } from "../support/linux_guest.ts";

const image = (await guestImage())!;
const ignore = !image;

/** The other end of a cable that leads nowhere, and can be pulled out. */
class Cable implements NetBackend {
  readonly offloads = false;
  linkUp = true;
  #change = Promise.withResolvers<boolean>();

  plug(up: boolean): void {
    this.linkUp = up;
    this.#change.resolve(up);
    this.#change = Promise.withResolvers();
  }

  linkChange(): Promise<boolean> {
    return this.#change.promise;
  }

  send(): void {}

  receive(): Promise<null> {
    return new Promise(() => {});
  }
}

Deno.test({
  name: "two guests on a hub ping each other and transfer a file unharmed, both ways",
  ignore,
  async fn(t) {
    await using hypervisor = createHypervisor();
    const cable = new Cable();
    const test_cable = defineBackend({
      name: "test_cable",
      provides: "net",
      permissions: [],
      config: object({}),
      open: () => cable,
    });
    const hub = { net: { use: "hub_net", config: { hub: "lan" } } };
    const machineAt = (address: string, mac: string): Promise<LinuxGuest> =>
      LinuxGuest.boot({
        image,
        hypervisor,
        plugins: { test_cable },
        name: `machine-${address}`,
        append: `denovisor.ip=${address}/24`,
        devices: [
          { use: "virtio_net", config: { mac }, backends: hub },
          { use: "virtio_net", backends: { net: { use: "test_cable" } } },
        ],
      });
    const [server, client] = await Promise.all([
      machineAt("10.0.0.1", "52:54:00:00:00:01"),
      machineAt("10.0.0.2", "52:54:00:00:00:02"),
    ]);
    await using _server = server;
    await using _client = client;

    await t.step("the card has its address", async () => {
      assertEquals(await server.shell.get("cat /sys/class/net/eth0/address"), "52:54:00:00:00:01");
      assertMatch(await server.shell.get("ip address show eth0"), /inet 10\.0\.0\.1\/24/);
    });

    await t.step("ping", async () => {
      assertStringIncludes(await client.shell.get("ping -c 3 -s 1400 10.0.0.1"), "3 packets received, 0% packet loss");
    });

    await t.step("a file over TCP", async () => {
      await server.shell.get("mkdir /www; head -c 4m /dev/urandom > /www/file; httpd -h /www");
      const hash = await server.shell.get("sha256sum < /www/file");
      assertEquals(await client.shell.get("wget -q -O - http://10.0.0.1/file | sha256sum"), hash);
    });

    await t.step("the other way, in small writes", async () => {
      const received = client.shell.get("nc -l -p 7000 | sha256sum");
      await server.shell.get("sleep 1; seq 1 20000 > /tmp/numbers; nc 10.0.0.2 7000 < /tmp/numbers");
      assertEquals(await received, await server.shell.get("sha256sum < /tmp/numbers"));
    });

    await t.step("packets larger than the other's room arrive in pieces", async () => {
      assertStringIncludes(await server.shell.get("ping -c 2 -s 20000 10.0.0.2"), "2 packets received, 0% packet loss");
    });

    await t.step("a pulled cable shows, and one plugged in again", async () => {
      const carrier = "sleep 1; cat /sys/class/net/eth1/carrier";
      await client.shell.get("ip link set eth1 up");
      assertEquals(await client.shell.get(carrier), "1");
      cable.plug(false);
      assertEquals(await client.shell.get(carrier), "0");
      cable.plug(true);
      assertEquals(await client.shell.get(carrier), "1");
    });

    assertEquals(await Promise.all([server.powerOff(), client.powerOff()]), [0, 0]);
  },
});
