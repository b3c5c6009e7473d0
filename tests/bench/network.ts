// Two guests on one network: a file over HTTP from one to the other.

import { type Bench, CONSOLE, timed } from "./bench.ts";
import { type Group, rate, type Row } from "./results.ts";

const MEGABYTES = 32;

const TRANSFER: Row = { name: "TCP, guest to guest", unit: rate(MEGABYTES, "MB/s"), wanted: { cost: MEGABYTES / 20 } };

export const NETWORK: Group = { name: "network", rows: [TRANSFER] };

const SERVE = `mkdir /www; touch /www/ready; head -c ${MEGABYTES}000000 /dev/zero > /www/file; httpd -f -h /www`;

/** Boots a pair of guests for each contestant, and fetches the file once a round. */
export async function measureNetwork({ contestants, rounds, image, results }: Bench): Promise<void> {
  const { kernel, initrd } = image;
  const setup = { memory: "256M", kernel, initrd };
  for (const contestant of contestants) {
    await using client = await contestant.startPair(
      { ...setup, mac: "52:54:00:00:00:01", append: `${CONSOLE} denovisor.ip=10.0.0.1/24 denovisor.init="${SERVE}"` },
      { ...setup, mac: "52:54:00:00:00:02", append: `${CONSOLE} denovisor.ip=10.0.0.2/24` },
    );
    const { shell } = client;
    await shell.ready(300);
    const fetch = (path: string) => `wget -q -O /dev/null http://10.0.0.1/${path}`;
    await shell.get(`until ${fetch("ready")}; do sleep 1; done`, 120);
    for (let round = 0; round < rounds; round++) {
      results.add(TRANSFER, contestant.name, await timed(shell, fetch("file")));
    }
  }
}
