// Web streams over the host's end of a pipe, with its flow control both ways.

import type { StreamBackend } from "../../core/plugin.ts";

/** A byte stream of a machine, seen from the host. */
export interface HostStream {
  /**
   * What the guest sends. It ends when the machine is disposed.
   *
   * Read it, or give the device a back end such as `null_stream`: of output that nobody reads, 64 KiB and the last
   * write are kept, and then what prints in the guest waits; under the instruction clock the whole machine does.
   * Cancelling the stream reads nothing.
   */
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** What the guest receives, as fast as its driver takes it. */
  readonly writable: WritableStream<Uint8Array>;
}

/** The most bytes handed on at once. */
const CHUNK = 65536;

/** Makes the streams. Closing or cancelling one leaves the pipe open: the guest's cable stays plugged in. */
export function webStream(pipe: StreamBackend): HostStream {
  return {
    // The pipe is the buffer: nothing is taken out of it before it is asked for.
    readable: new ReadableStream({
      async pull(controller) {
        const chunk = await pipe.read(CHUNK);
        if (chunk) controller.enqueue(chunk.slice());
        else controller.close();
      },
    }, { highWaterMark: 0 }),
    writable: new WritableStream({ write: (chunk) => pipe.write(chunk) }),
  };
}
