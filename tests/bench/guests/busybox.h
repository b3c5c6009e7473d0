// Runs a command of busybox over a file of text in memory; the checksum is of what it prints.
#pragma once

#include "program.h"

// Writes a file of `length` bytes, half of them foreseeable, for the commands to read.
void write_input(size_t length);
uint64_t run_busybox(const char *command, const char *option);
