// Talks to a guest's shell through a console: types commands, reads their output.

import type { HostStream } from "../mod.ts";

const PROMPT = "denovisor:/# ";

/** A shell at the other end of a console. */
export class Shell {
  #writer;
  #text;
  #seen = "";

  constructor({ readable, writable }: HostStream) {
    this.#writer = writable.getWriter();
    this.#text = readable.getReader();
  }

  /** Waits for the first prompt; gives what the guest said before it. */
  async ready(): Promise<string> {
    const greeting = await this.#until(PROMPT);
    // Long commands shall be echoed in one line.
    await this.run("stty cols 1000");
    return greeting;
  }

  /** Types a command; gives what it prints. */
  async run(command: string): Promise<string> {
    this.type(command);
    const answer = await this.#until(PROMPT);
    // The first line is the command's echo, the last one the next prompt.
    return answer.split(/\r*\n/).slice(1, -1).join("\n");
  }

  /** Types a command without waiting for its end. */
  type(command: string): void {
    void this.#writer.write(new TextEncoder().encode(`${command}\n`));
  }

  async #until(end: string): Promise<string> {
    const decoder = new TextDecoder();
    while (!this.#seen.endsWith(end)) {
      const { value, done } = await this.#text.read();
      if (done) throw new Error(`The guest's console ended after: ${this.#seen.slice(-200)}`);
      // deno-lint-ignore no-control-regex -- the guest's shell asks the terminal for its size
      this.#seen = (this.#seen + decoder.decode(value, { stream: true })).replaceAll(/\x1b\[[\d;]*[A-Za-z]/g, "");
    }
    const said = this.#seen;
    this.#seen = "";
    return said;
  }
}
