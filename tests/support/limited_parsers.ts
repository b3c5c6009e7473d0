// The tests of everything that reads files, in a process that may grow by 256 MiB. Run by parsers_memory_test.ts.

import "../parsers_fuzz_test.ts";
import { limitMemory } from "./limit_memory.ts";

limitMemory(256 * 2 ** 20);
