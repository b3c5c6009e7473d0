#include "busybox.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char INPUT[] = "/tmp/bench_input";

void write_input(size_t length) {
  int file = open(INPUT, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  check(file >= 0, INPUT);
  uint64_t random = 31;
  char line[64];
  for (size_t at = 0; at < length; at += sizeof line) {
    for (size_t i = 0; i < sizeof line; i++) line[i] = i < 32 ? "The guest believes in a machine. "[i] : 'a' + next_random(&random) % 26;
    check(write(file, line, sizeof line) == sizeof line, INPUT);
  }
  close(file);
}

uint64_t run_busybox(const char *command, const char *option) {
  int output[2];
  check(pipe(output) == 0, "pipe");
  pid_t child = fork();
  check(child >= 0, "fork");
  if (child == 0) {
    int input = open(INPUT, O_RDONLY);
    dup2(input, 0);
    dup2(output[1], 1);
    close(output[0]);
    execl("/bin/busybox", command, option, (char *)NULL);
    _exit(1);
  }
  close(output[1]);
  uint64_t sum = 0;
  static uint8_t buffer[65536];
  size_t filled = 0;
  for (ssize_t got; (got = read(output[0], buffer + filled, sizeof buffer - filled)) > 0;) {
    filled += got;
    if (filled < sizeof buffer) continue;
    for (size_t i = 0; i < filled; i += 8) sum = mix(sum, *(uint64_t *)(buffer + i));
    filled = 0;
  }
  for (size_t i = 0; i < filled; i++) sum = mix(sum, buffer[i]);
  close(output[0]);
  int status;
  check(waitpid(child, &status, 0) == child && status == 0, command);
  unlink(INPUT);
  return sum;
}
