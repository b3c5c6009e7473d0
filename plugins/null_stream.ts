// Stream back end to nowhere: output is discarded, input never comes.

import { defineBackend } from "../core/plugin.ts";
import { object } from "../core/schema.ts";

/** Discards what the guest writes. */
export default defineBackend({
  name: "null_stream",
  provides: "stream",
  permissions: [],
  config: object({}),
  open: () => ({
    read: () => new Promise<never>(() => {}),
    write: () => {},
  }),
});
