// Interrupt lines: level-triggered, OR-ed where several devices share an input of the controller.

import type { InterruptController, IrqLine } from "./plugin.ts";

/** One input of the interrupt controller. */
class Input {
  asserted = 0;
  constructor(readonly number: number) {}
}

class Line implements IrqLine {
  #level = false;
  #input: Input | undefined;
  readonly #changed: (input: Input) => void;

  constructor(changed: (input: Input) => void) {
    this.#changed = changed;
  }

  set(level: boolean): void {
    if (level === this.#level) return;
    this.#level = level;
    if (!this.#input) return;
    this.#input.asserted += level ? 1 : -1;
    // Only the first line that rises and the last one that falls show at the input.
    if (this.#input.asserted === (level ? 1 : 0)) this.#changed(this.#input);
  }

  connect(input: Input): void {
    this.#input = input;
    if (this.#level) input.asserted++;
  }

  clear(): void {
    this.#level = false;
  }
}

/** The wires between the devices and the interrupt controller. */
export class Interrupts {
  readonly #lines: Line[] = [];
  readonly #inputs = new Map<number, Input>();
  #controller: InterruptController | undefined;

  /** A device's line, not connected yet. */
  line(): IrqLine & { connect(input: number): void } {
    const line = new Line((input) => this.#controller?.set(input.number, input.asserted > 0));
    this.#lines.push(line);
    return { set: (level) => line.set(level), connect: (number) => line.connect(this.#input(number)) };
  }

  /** Names the controller. Throws a `RangeError` if it lacks an input that a line is connected to. */
  attach(name: string, controller: InterruptController): void {
    for (const number of this.#inputs.keys()) {
      if (number < 0 || number >= controller.inputs) {
        throw new RangeError(
          `Cannot wire interrupt ${number}: wanted an input of ${name} from 0 to ${controller.inputs - 1}`,
        );
      }
    }
    this.#controller = controller;
  }

  /** Forgets all levels, before devices derive them from other state. */
  clear(): void {
    for (const line of this.#lines) line.clear();
    for (const input of this.#inputs.values()) input.asserted = 0;
  }

  /** Shows the controller the level of every input, whatever its state says. */
  refresh(): void {
    for (const input of this.#inputs.values()) this.#controller?.set(input.number, input.asserted > 0);
  }

  #input(number: number): Input {
    let input = this.#inputs.get(number);
    if (!input) this.#inputs.set(number, input = new Input(number));
    return input;
  }
}
