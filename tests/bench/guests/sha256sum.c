// busybox sha256sum.
#include "busybox.h"

static void prepare(const char *argument) {
  (void)argument;
  write_input(12 << 20);
}

static uint64_t run(void) {
  return run_busybox("sha256sum", NULL);
}

PROGRAM(sha256sum) = { prepare, run };
