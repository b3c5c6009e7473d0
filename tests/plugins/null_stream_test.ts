// Tests plugins/null_stream.ts.

import null_stream from "../../plugins/null_stream.ts";
import { Room, streamSuite } from "../support/backend_suites.ts";

streamSuite("null_stream", async () => ({ stream: await new Room().open(null_stream, {}) }));
