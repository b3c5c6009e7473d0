// Follows pointers through memory in random order: every load waits for the one before.
#include "program.h"

enum { NODES = 1 << 18, STEPS = 5000000 };
struct node { struct node *next; uint64_t value[7]; };
static struct node nodes[NODES];

static void prepare(const char *argument) {
  (void)argument;
  static uint32_t order[NODES];
  uint64_t random = 11;
  for (uint32_t i = 0; i < NODES; i++) order[i] = i;
  for (uint32_t i = NODES - 1; i > 0; i--) {
    uint32_t other = next_random(&random) % (i + 1), kept = order[i];
    order[i] = order[other];
    order[other] = kept;
  }
  for (uint32_t i = 0; i < NODES; i++) {
    nodes[order[i]].next = &nodes[order[(i + 1) % NODES]];
    nodes[order[i]].value[0] = i;
  }
}

static uint64_t run(void) {
  uint64_t sum = 0;
  const struct node *node = nodes;
  for (int step = 0; step < STEPS; step++, node = node->next) sum += node->value[0] ^ step;
  return sum;
}

PROGRAM(chase) = { prepare, run };
