// Serial port: the 16550D UART of the TI/NS data sheet "PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs".

import { type Bytes, defineDevice, type Device, type Nanos, type Plain } from "../core/plugin.ts";
import { integer, object, optional } from "../core/schema.ts";

/** Registers; DLL and DLM stand in the place of the first two while LCR.DLAB is set. */
const REG = { RBR: 0, THR: 0, IER: 1, IIR: 2, FCR: 2, LCR: 3, MCR: 4, LSR: 5, MSR: 6, SCR: 7, DLL: 0, DLM: 1 } as const;
const COUNT = 8;

const IER = { ERBFI: 1, ETBEI: 2, ELSI: 4, EDSSI: 8, ALL: 0x0f } as const;
/** Interrupt identifications, as IIR shows them. */
const IIR = { NONE: 1, MODEM: 0, THRE: 2, DATA: 4, LINE: 6, TIMEOUT: 12, FIFOS: 0xc0 } as const;
const FCR = { ENABLE: 1, CLEAR_RX: 2, CLEAR_TX: 4, KEPT: 0xc9 } as const;
const LCR = { WORD: 3, STOP: 4, PARITY: 8, BREAK: 0x40, DLAB: 0x80 } as const;
const MCR = { DTR: 1, RTS: 2, OUT1: 4, OUT2: 8, LOOP: 0x10, ALL: 0x1f } as const;
const LSR = { DR: 1, OE: 2, BI: 0x10, THRE: 0x20, TEMT: 0x40, FIFO_ERROR: 0x80 } as const;
const MSR = { CTS: 0x10, DSR: 0x20, RI: 0x40, DCD: 0x80 } as const;

const FIFO_SIZE = 16;
/** Received bytes that raise the interrupt, by FCR's top bits. */
const TRIGGERS = [1, 4, 8, 14] as const;
/** Reads of LSR in a row, with nothing to see, after which the guest surely waits for input. */
const PATIENCE = 8;

type State = {
  ier: number;
  fcr: number;
  lcr: number;
  mcr: number;
  scr: number;
  divisor: number;
  /** MSR's low half: modem lines that changed. */
  modemDelta: number;
  /** LSR's OE, PE, FE and BI, until they are read. */
  errors: number;
  /** Received characters, each with its LSR error bits eight bits up. */
  rx: number[];
  /** Bytes from the host that did not fit. */
  backlog: Bytes;
  /** Whether the host was asked for bytes, or has said that there are no more. */
  input: "idle" | "asked" | "ended";
  /** When the character timeout falls due; 0 for never. */
  timeoutAt: Nanos;
  timedOut: boolean;
  tx: number[];
  /** Whether the host holds up the output: the shift register is busy. */
  transmitting: boolean;
  /** The transmitter's interrupt: THR became empty and IIR has not been read since. */
  thrEmptied: boolean;
  /** Reads of LSR in a row. */
  polls: number;
};

/** A console: bytes to and from the host's stream, at the host's speed in both directions. */
export default defineDevice({
  name: "serial_16550",
  needs: ["irq", "clock", "inbox", "stream"],
  config: object({
    /** Registers lie `1 << regShift` bytes apart. */
    regShift: optional(integer({ max: 3 }), 0),
    /** Hertz of the baud-rate generator's input. */
    clockFrequency: optional(integer({ min: 1, max: 0xffff_ffff }), 3_686_400),
  }),
  stateVersion: 1,
  create({ irq, clock, inbox, stream, config: { regShift, clockFrequency } }) {
    const single = new Uint8Array(1);

    const timeout = clock.alarm("timeout", () => {
      device.state.timeoutAt = 0;
      device.state.timedOut = true;
      updateLine();
    });

    // ------------------------------------------------------------ interrupts

    function updateLine(): void {
      irq.set(cause() !== IIR.NONE);
    }

    function cause(): number {
      const { ier, errors, rx, fcr, timedOut, thrEmptied, modemDelta } = device.state;
      if (ier & IER.ELSI && errors) return IIR.LINE;
      if (ier & IER.ERBFI && rx.length >= (fcr & FCR.ENABLE ? TRIGGERS[fcr >> 6] : 1)) return IIR.DATA;
      if (ier & IER.ERBFI && timedOut) return IIR.TIMEOUT;
      if (ier & IER.ETBEI && thrEmptied) return IIR.THRE;
      return ier & IER.EDSSI && modemDelta ? IIR.MODEM : IIR.NONE;
    }

    function readCause(): number {
      const { state } = device;
      const identification = cause();
      if (identification === IIR.THRE) state.thrEmptied = false;
      return state.fcr & FCR.ENABLE ? identification | IIR.FIFOS : identification;
    }

    // ------------------------------------------------------------ receiver

    const rxCapacity = (): number => device.state.fcr & FCR.ENABLE ? FIFO_SIZE : 1;

    /** No byte is taken from the host before the guest is ready for it: its driver's first act is to clear the FIFOs. */
    function listening(): boolean {
      const { mcr, ier, polls } = device.state;
      if (mcr & MCR.LOOP) return false;
      return (mcr & MCR.RTS) !== 0 || (ier & IER.ERBFI) !== 0 || polls >= PATIENCE;
    }

    /** Lets bytes in, as many as there is room for, and asks the host for more when all are read. */
    function receive(): void {
      const { state } = device;
      if (!listening()) return;
      if (state.backlog.length > 0) {
        const room = Math.max(0, rxCapacity() - state.rx.length);
        for (const byte of state.backlog.subarray(0, room)) push(byte);
        state.backlog = state.backlog.slice(room);
      } else if (state.rx.length === 0 && state.input === "idle") {
        ask();
      }
    }

    function ask(): void {
      device.state.input = "asked";
      inbox.post("input", 0, stream.read(rxCapacity()));
    }

    /** A character arrives; one too many is lost, which only loopback can bring about. */
    function push(character: number): void {
      const { state } = device;
      if (state.rx.length >= rxCapacity()) {
        state.errors |= LSR.OE;
        if (state.fcr & FCR.ENABLE) return;
        state.rx.pop();
      }
      state.rx.push(character);
      reveal();
      if (!state.timedOut) restartTimeout();
    }

    /** The errors of the character on top show in LSR. */
    function reveal(): void {
      const { state } = device;
      if (state.rx.length === 0) return;
      state.errors |= state.rx[0] >> 8;
      state.rx[0] &= 0xff;
    }

    function pop(): number {
      const { state } = device;
      const character = state.rx.shift() ?? 0;
      reveal();
      restartTimeout();
      if (state.rx.length === 0) receive();
      return character & 0xff;
    }

    /** Characters below the trigger level are told of once the line was quiet for the time of four. */
    function restartTimeout(): void {
      const { state } = device;
      state.timedOut = false;
      const waiting = state.fcr & FCR.ENABLE && state.rx.length > 0;
      state.timeoutAt = waiting ? clock.now + 4 * characterTime() : 0;
      armTimeout();
    }

    function armTimeout(): void {
      if (device.state.timeoutAt) timeout.at(device.state.timeoutAt);
      else timeout.cancel();
    }

    function characterTime(): Nanos {
      const { lcr, divisor } = device.state;
      const bits = 1 + 5 + (lcr & LCR.WORD) + (lcr & LCR.PARITY ? 1 : 0) + (lcr & LCR.STOP ? 2 : 1);
      return Math.ceil(bits * 16 * (divisor || 1) * 1e9 / clockFrequency);
    }

    function clearReceiver(): void {
      device.state.rx = [];
      device.state.errors &= LSR.OE;
      restartTimeout();
      receive();
    }

    // ------------------------------------------------------------ transmitter

    function send(value: number): void {
      const { state } = device;
      state.thrEmptied = false;
      if (state.mcr & MCR.LOOP) {
        push(value);
        state.thrEmptied = true;
      } else if (!state.transmitting) {
        single[0] = value;
        transmit(single);
        state.thrEmptied = true;
      } else if (state.tx.length < (state.fcr & FCR.ENABLE ? FIFO_SIZE : 1)) {
        state.tx.push(value);
      }
    }

    function transmit(bytes: Bytes): void {
      const written = stream.write(bytes);
      if (!written) return;
      device.state.transmitting = true;
      inbox.complete("written", 0, written.then(() => null));
    }

    /** The shift register is free, and takes all that waits in the FIFO. */
    function shift(): void {
      const { state } = device;
      state.transmitting = false;
      if (state.tx.length === 0) return;
      const bytes = Uint8Array.from(state.tx);
      state.tx = [];
      state.thrEmptied = true;
      transmit(bytes);
    }

    function clearTransmitter(): void {
      device.state.tx = [];
      device.state.thrEmptied = true;
    }

    // ------------------------------------------------------------ control and status

    function setInterruptEnable(value: number): void {
      const { state } = device;
      const raised = value & ~state.ier;
      state.ier = value & IER.ALL;
      if (raised & IER.ETBEI && state.tx.length === 0) state.thrEmptied = true;
      receive();
    }

    function setFifoControl(value: number): void {
      const { state } = device;
      const toggled = (value ^ state.fcr) & FCR.ENABLE;
      // Without its enable bit, a write programs nothing else.
      const command = value & FCR.ENABLE ? value : 0;
      state.fcr = command & FCR.KEPT;
      if (toggled || command & FCR.CLEAR_RX) clearReceiver();
      if (toggled || command & FCR.CLEAR_TX) clearTransmitter();
    }

    function setLineControl(value: number): void {
      const { state } = device;
      const raised = value & ~state.lcr;
      state.lcr = value;
      if (raised & LCR.BREAK && state.mcr & MCR.LOOP) push(LSR.BI << 8);
    }

    function setModemControl(value: number): void {
      const { state } = device;
      const before = modemLines();
      state.mcr = value & MCR.ALL;
      const after = modemLines();
      // The ring indicator tells of its trailing edge only.
      state.modemDelta |= ((before ^ after) & ~(after & MSR.RI)) >> 4;
      receive();
    }

    /** The host is always there; in loopback the outputs come back as inputs. */
    function modemLines(): number {
      const { mcr } = device.state;
      if (!(mcr & MCR.LOOP)) return MSR.CTS | MSR.DSR | MSR.DCD;
      return (mcr & MCR.RTS ? MSR.CTS : 0) | (mcr & MCR.DTR ? MSR.DSR : 0) |
        (mcr & MCR.OUT1 ? MSR.RI : 0) | (mcr & MCR.OUT2 ? MSR.DCD : 0);
    }

    function readLineStatus(): number {
      const { state } = device;
      let status: number = state.errors;
      if (state.fcr & FCR.ENABLE && (state.errors & ~LSR.OE || state.rx.some((character) => character >> 8))) {
        status |= LSR.FIFO_ERROR;
      }
      if (state.rx.length > 0) status |= LSR.DR;
      if (state.tx.length === 0) status |= state.transmitting ? LSR.THRE : LSR.THRE | LSR.TEMT;
      state.errors = 0;
      // A guest that waits for the transmitter polls, too, but is not out for input.
      const idle = status === (LSR.THRE | LSR.TEMT);
      state.polls = idle ? Math.min(state.polls + 1, PATIENCE) : 0;
      if (state.polls === PATIENCE) receive();
      return status;
    }

    function readModemStatus(): number {
      const status = modemLines() | device.state.modemDelta;
      device.state.modemDelta = 0;
      return status;
    }

    // ------------------------------------------------------------ registers

    function readRegister(register: number): number {
      const { state } = device;
      if (register !== REG.LSR) state.polls = 0;
      if (state.lcr & LCR.DLAB) {
        if (register === REG.DLL) return state.divisor & 0xff;
        if (register === REG.DLM) return state.divisor >> 8;
      }
      switch (register) {
        case REG.RBR:
          return pop();
        case REG.IER:
          return state.ier;
        case REG.IIR:
          return readCause();
        case REG.LCR:
          return state.lcr;
        case REG.MCR:
          return state.mcr;
        case REG.LSR:
          return readLineStatus();
        case REG.MSR:
          return readModemStatus();
        default:
          return state.scr;
      }
    }

    function writeRegister(register: number, value: number): void {
      const { state } = device;
      state.polls = 0;
      if (state.lcr & LCR.DLAB) {
        if (register === REG.DLL) return void (state.divisor = state.divisor & 0xff00 | value);
        if (register === REG.DLM) return void (state.divisor = state.divisor & 0x00ff | value << 8);
      }
      switch (register) {
        case REG.THR:
          return send(value);
        case REG.IER:
          return setInterruptEnable(value);
        case REG.FCR:
          return setFifoControl(value);
        case REG.LCR:
          return setLineControl(value);
        case REG.MCR:
          return setModemControl(value);
        case REG.SCR:
          state.scr = value;
      }
    }

    const device: Device<State> = {
      state: {
        ier: 0,
        fcr: 0,
        lcr: 0,
        mcr: 0,
        scr: 0,
        divisor: 0,
        modemDelta: 0,
        errors: 0,
        rx: [],
        backlog: new Uint8Array(0),
        input: "idle",
        timeoutAt: 0,
        timedOut: false,
        tx: [],
        transmitting: false,
        thrEmptied: false,
        polls: 0,
      },
      deviceTree: {
        node: "serial",
        compatible: "ns16550a",
        properties: { "clock-frequency": clockFrequency, ...(regShift ? { "reg-shift": regShift } : {}) },
      },
      regions: [{
        name: "regs",
        size: 0x100,
        // Registers are bytes; software that moves words means the lowest.
        widths: [1, 2, 4],
        read(offset) {
          const register = offset >> regShift;
          if (register >= COUNT) return 0;
          const value = readRegister(register);
          updateLine();
          return value;
        },
        write(offset, value) {
          const register = offset >> regShift;
          if (register >= COUNT) return;
          writeRegister(register, value & 0xff);
          updateLine();
        },
      }],
      events: {
        input(_token: number, outcome: Plain) {
          const { state } = device;
          state.input = outcome instanceof Uint8Array ? "idle" : "ended";
          if (outcome instanceof Uint8Array) state.backlog = concat(state.backlog, outcome);
          receive();
          updateLine();
        },
        written() {
          shift();
          updateLine();
        },
      },
      refresh() {
        const { state } = device;
        armTimeout();
        // The host has the bytes of a write in flight: only its completion is waited for again.
        if (state.transmitting) inbox.complete("written", 0, Promise.resolve(null));
        if (state.input === "asked") ask();
        // A stream that had ended may be another one now.
        else if (state.input === "ended") state.input = "idle";
        receive();
        updateLine();
      },
    };
    return device;
  },
});

function concat(a: Bytes, b: Bytes): Bytes {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
