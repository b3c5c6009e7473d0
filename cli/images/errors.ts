// What can go wrong with guest images, each said in one sentence that tells what to do.

/** A failure the person can do something about; its message is the whole story. */
export class ImageError extends Error {
  override readonly name: string = "ImageError";
}

/** No mirror was named, and the host's own package sources name none that serves the image. */
export class NoMirrorError extends ImageError {
  override readonly name = "NoMirrorError";
}

/** The pull was interrupted, and everything it had begun is gone again. */
export class InterruptedError extends ImageError {
  override readonly name = "InterruptedError";
}

/** The system's words for an error, without the class or the number. */
export function reason(error: unknown): string {
  const innermost = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return (innermost instanceof Error ? innermost.message : String(innermost)).replace(/ \(os error \d+\).*$/s, "");
}
