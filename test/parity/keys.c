/*
 * Performs key system calls on a real kernel and writes what it answered; built statically by gen/keys.mjs.
 *   keys IN OUT
 * Lines: "case" (a fresh process with a fresh session keyring), "add TYPE DESC HEX RING", "req TYPE DESC DEST", "ctl OP A B C",
 * "load RING HEX" (a signed two-instruction program), "sleep SECONDS". Arguments: a number, $N for the result of line N of the case,
 * t:TEXT (with $N replaced too), or - for a null pointer. One line of answer each: the result or -errno, and for READ and DESCRIBE the bytes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long results[256];
static int count;

static size_t unhex(const char *text, unsigned char *out)
{
	size_t n = 0;
	unsigned value;
	if (*text == '-') return 0;
	for (; sscanf(text, "%2x", &value) == 1 && text[0] && text[1]; text += 2) out[n++] = value;
	return n;
}

static long number(const char *text)
{
	return text[0] == '$' ? results[atoi(text + 1)] : strtol(text, NULL, 0);
}

static long argument(char *text)
{
	if (!text || !strcmp(text, "-")) return 0;
	return text[0] == 't' && text[1] == ':' ? (long)(text + 2) : number(text);
}

static const char *string(char *text)
{
	return !strcmp(text, "-") ? NULL : !strcmp(text, "t:") ? "" : text[0] == 't' && text[1] == ':' ? text + 2 : text;
}

static long load(long ring, const unsigned char *signature, size_t size)
{
	static const uint64_t program[2] = { 0xb7, 0x95 };
	static unsigned char attr[168];
	memset(attr, 0, sizeof(attr));
	*(uint32_t *)attr = 1;
	*(uint32_t *)(attr + 4) = 2;
	*(uint64_t *)(attr + 8) = (uintptr_t)program;
	*(uint64_t *)(attr + 16) = (uintptr_t)"GPL";
	*(uint64_t *)(attr + 152) = (uintptr_t)signature;
	*(uint32_t *)(attr + 160) = size;
	*(int32_t *)(attr + 164) = ring;
	long fd = syscall(SYS_bpf, 5, attr, sizeof(attr));
	if (fd >= 0) close(fd);
	return fd >= 0 ? 0 : fd;
}

static void perform(char *line, FILE *out)
{
	static unsigned char bytes[1 << 17], buffer[4096];
	char *word[8] = { 0 };
	int n = 0;
	for (char *at = strtok(line, " "); at && n < 8; at = strtok(NULL, " ")) word[n++] = at;
	for (int i = 0; i < n; i++) for (char *c = word[i]; *c; c++) if (*c == '\x01') *c = ' ';
	for (int i = 0; i < n; i++) {
		static char expanded[8][256];
		char *dollar = word[i][0] == 't' && word[i][1] == ':' ? strchr(word[i], '$') : NULL;
		if (!dollar) continue;
		char *rest;
		long value = results[strtol(dollar + 1, &rest, 10)];
		snprintf(expanded[i], sizeof(expanded[i]), "%.*s%ld%s", (int)(dollar - word[i]), word[i], value, rest);
		word[i] = expanded[i];
	}
	long result = 0, length = -1;
	errno = 0;
	if (!strcmp(word[0], "add")) {
		size_t size = unhex(word[3], bytes);
		result = syscall(SYS_add_key, string(word[1]), string(word[2]), size ? bytes : NULL, size, number(word[4]));
	} else if (!strcmp(word[0], "req")) {
		result = syscall(SYS_request_key, string(word[1]), string(word[2]), NULL, number(word[3]));
	} else if (!strcmp(word[0], "ctl")) {
		long op = number(word[1]);
		if (op == 11 || op == 6) {
			memset(buffer, 0, sizeof(buffer));
			length = result = syscall(SYS_keyctl, op, argument(word[2]), buffer, sizeof(buffer));
		} else {
			result = syscall(SYS_keyctl, op, argument(word[2]), argument(word[3]), argument(word[4]), argument(word[5]));
		}
	} else if (!strcmp(word[0], "load")) {
		size_t size = unhex(word[2], bytes);
		result = load(number(word[1]), bytes, size);
	} else if (!strcmp(word[0], "sleep")) {
		sleep(number(word[1]));
	}
	if (result < 0) result = -errno;
	results[count++ & 255] = result;
	fprintf(out, "%ld", result);
	if (length > 0) { fputc(' ', out); for (long i = 0; i < length; i++) fprintf(out, "%02x", buffer[i]); }
	fputc('\n', out);
}

int main(int argc, char **argv)
{
	static char text[1 << 22];
	FILE *in = fopen(argv[1], "r"), *out = fopen(argv[2], "w");
	(void)argc;
	if (!in || !out) return 1;
	text[fread(text, 1, sizeof(text) - 1, in)] = 0;
	for (char *at = text; at;) {
		char *end = strstr(at, "\ncase\n");
		if (end) *end = 0;
		fflush(out);
		pid_t child = fork();
		if (child == 0) {
			char *state = NULL;
			syscall(SYS_keyctl, 1, NULL);
			syscall(SYS_keyctl, 7, -4);
			for (char *line = strtok_r(at, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) perform(line, out);
			fflush(out);
			_exit(0);
		}
		waitpid(child, NULL, 0);
		at = end ? end + 6 : NULL;
	}
	fclose(out);
	return 0;
}
