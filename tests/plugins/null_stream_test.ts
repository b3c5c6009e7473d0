// Tests plugins/null_stream.ts.

import null_stream from "../../plugins/null_stream.ts";
import { streamSuite } from "../support/backend_suites.ts";
import { Room } from "../support/room.ts";

streamSuite("null_stream", async () => ({ stream: await new Room().open(null_stream, {}) }));
