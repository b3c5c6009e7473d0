// Two processes that hand each other a byte in turns: system calls and switches between address spaces.
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

enum { ROUNDS = 6000 };

static uint64_t run(void) {
  int there[2], back[2];
  check(pipe(there) == 0 && pipe(back) == 0, "pipe");
  pid_t child = fork();
  check(child >= 0, "fork");
  if (child == 0) {
    close(there[1]);
    for (uint8_t ball; read(there[0], &ball, 1) == 1;) {
      ball = 3 * ball + 1;
      check(write(back[1], &ball, 1) == 1, "write");
    }
    _exit(0);
  }
  uint64_t sum = 0;
  uint8_t ball = 1;
  for (int round = 0; round < ROUNDS; round++) {
    check(write(there[1], &ball, 1) == 1 && read(back[0], &ball, 1) == 1, "ping-pong");
    sum = mix(sum, ball);
  }
  close(there[1]);
  check(waitpid(child, NULL, 0) == child, "wait");
  return sum;
}

PROGRAM(pipe) = { NULL, run };
