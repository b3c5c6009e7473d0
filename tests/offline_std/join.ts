// A stand-in for @std/path/join, over node:path.

export { join } from "node:path";
