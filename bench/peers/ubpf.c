/*
 * uBPF as a peer of bench:vm (protocol: README.md). Built against an installed or checked-out uBPF:
 *
 *     make -C bench/peers ubpf UBPF=/path/to/ubpf
 *
 * usage: ubpf jit|interpreter BYTECODE MEMORY ITERATIONS [CALLS]
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ubpf.h"

#define REPETITIONS 3

static uint64_t mix(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	return (a ^ (b << 1)) + c + d + e;
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why == NULL ? "failed" : why);
	exit(1);
}

static uint8_t *contents(const char *path, size_t *length)
{
	FILE *file = fopen(path, "rb");
	uint8_t *bytes = NULL;
	long size;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) <= 0 || fseek(file, 0, SEEK_SET) != 0)
		die(path, "cannot be read");
	/* One page more than there is: programs may look a little behind the last byte. */
	bytes = aligned_alloc(4096, ((size_t)size / 4096 + 2) * 4096);
	if (bytes == NULL || fread(bytes, 1, (size_t)size, file) != (size_t)size)
		die(path, "cannot be read");
	fclose(file);
	*length = (size_t)size;
	return bytes;
}

static double nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
	size_t code_length, memory_length;
	char *error = NULL;
	double best = 0;
	uint64_t result = 0;
	ubpf_jit_fn run = NULL;

	if ((argc != 5 && argc != 6) || (strcmp(argv[1], "jit") != 0 && strcmp(argv[1], "interpreter") != 0))
		die("usage", "ubpf jit|interpreter BYTECODE MEMORY ITERATIONS [CALLS]");
	uint8_t *code = contents(argv[2], &code_length);
	uint8_t *initial = contents(argv[3], &memory_length);
	uint64_t count = strtoull(argv[4], NULL, 10);
	bool writes_count = strcmp(argv[4], "-") != 0;
	unsigned long calls = argc == 6 ? strtoul(argv[5], NULL, 10) : 1;
	uint8_t *memory = aligned_alloc(4096, (memory_length / 4096 + 2) * 4096);
	struct ubpf_vm *vm = ubpf_create();

	if (vm == NULL || memory == NULL)
		die("memory", NULL);
	if (ubpf_register(vm, 1, "mix", mix) != 0 || ubpf_load(vm, code, (uint32_t)code_length, &error) != 0)
		die("load", error);
	if (argv[1][0] == 'j') {
		run = ubpf_compile(vm, &error);
		if (run == NULL)
			die("compile", error);
	}
	for (int repetition = 0; repetition < REPETITIONS; repetition++) {
		memcpy(memory, initial, memory_length);
		if (writes_count)
			memcpy(memory, &count, sizeof(count));
		double started = nanoseconds();
		for (unsigned long call = 0; call < calls; call++) {
			if (run != NULL)
				result = run(memory, memory_length);
			else if (ubpf_exec(vm, memory, memory_length, &result) != 0)
				die("run", NULL);
		}
		double used = (nanoseconds() - started) / (double)calls;
		if (repetition == 0 || used < best)
			best = used;
	}
	printf("0x%llx %.1f\n", (unsigned long long)result, best);
	ubpf_destroy(vm);
	return 0;
}
