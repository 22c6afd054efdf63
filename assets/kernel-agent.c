// SPDX-License-Identifier: Apache-2.0
/*
 * The first and only process of a machine that is booted to ask its kernel: performs the operations of /requests, writes the answers to the
 * second serial line, and switches the machine off. src/node/kernel-machine.ts builds it, makes the requests and reads the answers:
 *   case                          close everything, all capabilities, an empty session keyring
 *   bpf CMD ATTR [TOKEN]...       ATTR and buffers in hex ("-" for none); tokens pOFF=HEX in, xOFF=HEX in and out, oOFF=SIZE out,
 *                                 fOFF=SLOT, iOFF:AT=SLOT, nOFF:AT=HEX nested in, mOFF:AT=SIZE nested out, kOFF:AT=SLOT take an fd, s=SLOT keep
 *   key NAME DER, keyid ID, caps HEX, mmap SLOT SIZE PROT, munmap, close SLOT, dup SLOT SLOT
 * An answer: RET ERRNO [aATTR] [KEY=HEX]...; of the attributes of a test run as much as holds its results
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

enum { SLOTS = 4096, MAPPINGS = 4096, BUFFERS = 600, TAKES = 512, SLACK = 64, ATTR = 256, SESSION = -3, CLEAR = 7, JOIN = 1, TEST_RUN = 10, ENABLE_STATS = 32, RESULTS = 16 };
struct buffer { int off, at, out; unsigned char *bytes; size_t size; };
static int slots[SLOTS], kept[SLOTS], keeping;
static struct { void *at; size_t size; } mappings[MAPPINGS];
static int mapped;

static int digit(int c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

static size_t read_hex(const char *hex, unsigned char **bytes, size_t least)
{
	size_t n = *hex == '-' ? 0 : strlen(hex) / 2;

	*bytes = calloc(1, (n > least ? n : least) + SLACK);
	for (size_t i = 0; i < n; i++) (*bytes)[i] = digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]);
	return n;
}

static void write_hex(FILE *out, const unsigned char *bytes, size_t n)
{
	if (n == 0) fputc('-', out);
	for (size_t i = 0; i < n; i++) fprintf(out, "%02x", bytes[i]);
}

static int fd_of(int slot) { return slot < 0 ? -1 : slots[slot]; }

static void keep(int slot, int fd)
{
	if (slots[slot] >= 0 && keeping < SLOTS) kept[keeping++] = slots[slot];
	slots[slot] = fd;
}

static void set_capabilities(int all, unsigned long long effective)
{
	struct { uint32_t version; int pid; } head = { 0x20080522, 0 };
	struct { uint32_t e, p, i; } caps[2];

	syscall(SYS_capget, &head, caps);
	caps[0].e = all ? caps[0].p : (uint32_t)effective & caps[0].p;
	caps[1].e = all ? caps[1].p : (uint32_t)(effective >> 32) & caps[1].p;
	syscall(SYS_capset, &head, caps);
}

static void unmap(void)
{
	if (mapped == 0) return;
	mapped--;
	munmap(mappings[mapped].at, mappings[mapped].size);
}

static void new_case(void)
{
	while (mapped > 0) unmap();
	for (int i = 0; i < SLOTS; i++) { if (slots[i] >= 0) close(slots[i]); slots[i] = -1; }
	while (keeping > 0) close(kept[--keeping]);
	set_capabilities(1, 0);
	syscall(SYS_keyctl, CLEAR, SESSION);
}

static int gives_fd(long cmd)
{
	static const int commands[] = { 0, 5, 7, 13, 14, 17, 18, 19, 28, 30, 33, 36 };

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) if (commands[i] == cmd) return 1;
	return 0;
}

static void do_bpf(char *args, FILE *out)
{
	static struct buffer buffers[BUFFERS];
	static struct { int off, at, slot; } takes[TAKES];
	unsigned char *attr;
	char *save, *token = strtok_r(args, " ", &save);
	long cmd = strtol(token, NULL, 0);
	size_t size = read_hex(strtok_r(NULL, " ", &save), &attr, ATTR);
	int count = 0, taking = 0, slot = -1;

	while ((token = strtok_r(NULL, " ", &save))) {
		char *equals = strchr(token, '='), *colon = strchr(token, ':');
		int off, at;
		struct buffer *owner = NULL;

		*equals++ = 0;
		off = atoi(token + 1);
		at = colon ? atoi(colon + 1) : -1;
		for (int i = 0; i < count && at >= 0; i++) if (buffers[i].off == off && buffers[i].at < 0) owner = &buffers[i];
		if (strchr("pxnom", token[0])) {
			struct buffer *b = &buffers[count++];
			int is_out = strchr("om", token[0]) != NULL;

			*b = (struct buffer){ off, at, is_out || token[0] == 'x' };
			if (is_out) { b->size = strtoul(equals, NULL, 0); b->bytes = calloc(1, b->size + 8 + SLACK); }
			else b->size = read_hex(equals, &b->bytes, 8);
			*(uint64_t *)(at < 0 ? attr + off : owner->bytes + at) = (uintptr_t)b->bytes;
		} else if (token[0] == 'f') *(int *)(attr + off) = fd_of(atoi(equals));
		else if (token[0] == 'i') *(int *)(owner->bytes + at) = fd_of(atoi(equals));
		else if (token[0] == 'k') { takes[taking].off = off; takes[taking].at = at; takes[taking++].slot = atoi(equals); }
		else if (token[0] == 's') slot = atoi(equals);
	}
	long ret = syscall(SYS_bpf, cmd, attr, size);
	int error = ret < 0 ? errno : 0;

	if (slot >= 0 && ret >= 0 && (gives_fd(cmd) || cmd == ENABLE_STATS)) keep(slot, ret);
	for (int k = 0; k < taking; k++)
		for (int i = 0; i < count; i++) {
			int *fd = (int *)(buffers[i].bytes + takes[k].at);

			if (buffers[i].off != takes[k].off || buffers[i].at >= 0 || *fd <= 0) continue;
			if (takes[k].slot >= 0) keep(takes[k].slot, *fd);
			*fd = 1;
		}
	fprintf(out, "%ld %d", ret, error);
	if (cmd == TEST_RUN) { fputs(" a", out); write_hex(out, attr, RESULTS); }
	for (int i = 0; i < count; i++) {
		size_t length = buffers[i].size;

		if (!buffers[i].out) continue;
		while (length && !buffers[i].bytes[length - 1]) length--;
		if (buffers[i].at < 0) fprintf(out, " %d=", buffers[i].off);
		else fprintf(out, " %d+%d=", buffers[i].off, buffers[i].at);
		write_hex(out, buffers[i].bytes, length);
	}
	fputc('\n', out);
	for (int i = 0; i < count; i++) free(buffers[i].bytes);
	free(attr);
	if (slot < 0 && ret > 2 && gives_fd(cmd)) close(ret);
}

static long do_key(char *args)
{
	char *hex = strchr(args, ' ');
	unsigned char *der;
	long ret;

	*hex++ = 0;
	ret = read_hex(hex, &der, 1);
	ret = syscall(SYS_add_key, "asymmetric", args, der, ret, SESSION);
	free(der);
	return ret;
}

static long do_mmap(const char *args)
{
	int slot, prot;
	size_t size;
	void *at;

	sscanf(args, "%d %zu %d", &slot, &size, &prot);
	at = mmap(NULL, size, prot, MAP_SHARED, fd_of(slot), 0);
	if (at == MAP_FAILED) return -1;
	if (mapped < MAPPINGS) { mappings[mapped].at = at; mappings[mapped++].size = size; }
	return 0;
}

static void perform(char *line, FILE *out)
{
	char *args = strchr(line, ' ');
	long ret = 0;
	int quiet = 0;

	if (args) *args++ = 0; else args = line + strlen(line);
	if (!strcmp(line, "case")) { new_case(); return; }
	if (!strcmp(line, "bpf")) { do_bpf(args, out); return; }
	if (!strcmp(line, "key")) ret = do_key(args);
	else if (!strcmp(line, "keyid")) ret = syscall(SYS_keyctl, 0, strtol(args, NULL, 0), 0);
	else if (!strcmp(line, "caps")) set_capabilities(0, strtoull(args, NULL, 16));
	else if (!strcmp(line, "mmap")) ret = do_mmap(args);
	else if (!strcmp(line, "munmap")) unmap();
	else if (!strcmp(line, "close")) {
		int slot = atoi(args);

		ret = fd_of(slot) >= 0 ? close(slots[slot]) : -1;
		if (slot >= 0) slots[slot] = -1;
		quiet = 1;
	} else if (!strcmp(line, "dup")) {
		int from, to;

		sscanf(args, "%d %d", &from, &to);
		ret = dup(fd_of(from));
		if (ret >= 0) keep(to, ret);
	}
	fprintf(out, "%ld %d\n", ret, ret < 0 && !quiet ? errno : 0);
}

int main(void)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
	struct termios line_settings;
	FILE *in, *out, *sysctl;
	char *line = NULL;
	size_t room = 0;
	ssize_t length;
	int serial;

	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	while ((serial = open("/dev/null", O_RDWR)) >= 0 && serial < 3) continue;
	if (serial > 2) close(serial);
	sysctl = fopen("/proc/sys/kernel/unprivileged_bpf_disabled", "w");
	if (sysctl) { fputs("0\n", sysctl); fclose(sysctl); }
	setrlimit(RLIMIT_MEMLOCK, &all);
	all.rlim_cur = all.rlim_max = 65536;
	setrlimit(RLIMIT_NOFILE, &all);
	serial = open("/dev/ttyS1", O_RDWR | O_NOCTTY);
	if (serial >= 0 && tcgetattr(serial, &line_settings) == 0) { cfmakeraw(&line_settings); tcsetattr(serial, TCSANOW, &line_settings); }
	in = fopen("/requests", "r");
	out = serial < 0 ? NULL : fdopen(serial, "w");
	if (in && out) {
		for (int i = 0; i < SLOTS; i++) slots[i] = -1;
		syscall(SYS_keyctl, JOIN, 0);
		while ((length = getline(&line, &room, in)) > 0) {
			if (line[length - 1] == '\n') line[length - 1] = 0;
			perform(line, out);
			fflush(out);
		}
		fputs("done\n", out);
		fflush(out);
		tcdrain(serial);
	}
	reboot(RB_POWER_OFF);
	return 0;
}
