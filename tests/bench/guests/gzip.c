// busybox gzip.
#include "busybox.h"

static void prepare(const char *argument) {
  (void)argument;
  write_input(4 << 20);
}

static uint64_t run(void) {
  return run_busybox("gzip", "-c");
}

PROGRAM(gzip) = { prepare, run };
