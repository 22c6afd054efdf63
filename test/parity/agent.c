// SPDX-License-Identifier: Apache-2.0
/*
 * Performs the operations of a transcript on the running kernel. record.mjs turns a transcript into lines for it and its answers
 * back into a transcript; docs/transcripts.md describes the operations. Reads lines from argv[1], writes answers to argv[2]:
 *   case                         close everything, all capabilities, empty session keyring
 *   bpf CMD ATTR [t=OFF,BYTES]   ATTR and buffers in hex ("-" for empty), then one token for each buffer and fd:
 *       pOFF=HEX in   oOFF=SIZE out   xOFF=HEX in and out   fOFF=SLOT   iOFF:AT=SLOT   nOFF:AT=HEX nested in   mOFF:AT=SIZE nested out
 *       kOFF:AT=SLOT take an fd after the call   s=SLOT keep the returned fd
 *   key NAME DER, keyid ID, caps HEX, mmap SLOT SIZE PROT, munmap, close SLOT, dup SLOT SLOT
 *   watch                        attach an LSM program to bpf_prog_load      admissions   what it saw since
 * An answer: RET ERRNO [aATTR] [KEY=HEX]...
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/types.h>
#include <linux/bpf.h>
#include "bpf.h"
#include LSM_SKEL

enum { SLOTS = 4096, BUFFERS = 600, SLACK = 64 };
static int slots[SLOTS];
static void *mapping; static size_t mapping_size;
static struct lsm *lsm; static unsigned long long seen_before;

struct buffer { int off, at; unsigned char *bytes; size_t size; int out; };

static int digit(int c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }
static size_t from_hex(const char *h, unsigned char **bytes, size_t least)
{
	size_t n = *h == '-' ? 0 : strlen(h) / 2;

	*bytes = calloc(1, (n > least ? n : least) + SLACK);
	for (size_t i = 0; i < n; i++)
		(*bytes)[i] = digit(h[2 * i]) << 4 | digit(h[2 * i + 1]);
	return n;
}
static void to_hex(FILE *f, const unsigned char *b, size_t n)
{
	if (!n) fputc('-', f);
	for (size_t i = 0; i < n; i++) fprintf(f, "%02x", b[i]);
}
static int fd_of(int slot) { return slot < 0 ? -1 : slots[slot]; }
static void new_case(void)
{
	struct { uint32_t version; int pid; } head = { 0x20080522, 0 };
	struct { uint32_t e, p, i; } caps[2];

	if (mapping) munmap(mapping, mapping_size);
	mapping = NULL;
	for (int i = 0; i < SLOTS; i++) { if (slots[i] >= 0) close(slots[i]); slots[i] = -1; }
	syscall(SYS_capget, &head, caps); caps[0].e = caps[0].p; caps[1].e = caps[1].p; syscall(SYS_capset, &head, caps);
	syscall(__NR_keyctl, 7, -3);
	if (lsm) { lsm__destroy(lsm); lsm = NULL; }
}
static void do_bpf(char *args, FILE *out)
{
	static struct buffer bufs[BUFFERS]; struct { int off, at, slot; } take[512]; int n = 0, takes = 0, keep = -1;
	char *save, *t = strtok_r(args, " ", &save); long cmd = strtol(t, 0, 0), r; unsigned char *attr; size_t size;

	size = from_hex(strtok_r(NULL, " ", &save), &attr, 256);
	while ((t = strtok_r(NULL, " ", &save))) {
		char *eq = strchr(t, '='), *colon = strchr(t, ':'); int off, at;
		*eq++ = 0; off = atoi(t + 1); at = colon ? atoi(colon + 1) : -1;
		struct buffer *owner = NULL;
		for (int i = 0; i < n && at >= 0; i++) if (bufs[i].off == off && bufs[i].at < 0) owner = &bufs[i];
		switch (t[0]) {
		case 'p': case 'x': case 'n':
			bufs[n] = (struct buffer){ off, at, NULL, 0, t[0] == 'x' };
			bufs[n].size = from_hex(eq, &bufs[n].bytes, 8);
			break;
		case 'o': case 'm':
			bufs[n] = (struct buffer){ off, at, NULL, strtoul(eq, 0, 0), 1 };
			bufs[n].bytes = calloc(1, bufs[n].size + 8 + SLACK);
			break;
		case 'f': *(int *)(attr + off) = fd_of(atoi(eq)); continue;
		case 'i': *(int *)(owner->bytes + at) = fd_of(atoi(eq)); continue;
		case 'k': take[takes].off = off; take[takes].at = at; take[takes++].slot = atoi(eq); continue;
		case 's': keep = atoi(eq); continue;
		default: continue;
		}
		*(uint64_t *)((at < 0 ? attr + off : owner->bytes + at)) = (uint64_t)(uintptr_t)bufs[n].bytes;
		n++;
	}
	r = syscall(__NR_bpf, cmd, attr, size);
	int e = r < 0 ? errno : 0;
	if (keep >= 0 && r >= 0) slots[keep] = r;
	for (int k = 0; k < takes; k++)
		for (int i = 0; i < n; i++)
			if (bufs[i].off == take[k].off && bufs[i].at < 0) {
				int *fd = (int *)(bufs[i].bytes + take[k].at);
				if (*fd > 0) { if (take[k].slot >= 0) slots[take[k].slot] = *fd; *fd = 1; }
			}
	fprintf(out, "%ld %d a", r, e); to_hex(out, attr, size > 256 ? 256 : size < 256 ? 256 : size);
	for (int i = 0; i < n; i++) {
		if (bufs[i].out) {
			size_t len = bufs[i].size; while (len && !bufs[i].bytes[len - 1]) len--;
			if (bufs[i].at < 0) fprintf(out, " %d=", bufs[i].off); else fprintf(out, " %d+%d=", bufs[i].off, bufs[i].at);
			to_hex(out, bufs[i].bytes, len);
		}
	}
	for (int i = 0; i < n; i++) free(bufs[i].bytes);
	free(attr);
	fputc('\n', out);
	if (keep < 0 && r > 2 && (cmd == 0 || cmd == 5 || cmd == 7 || cmd == 13 || cmd == 14 || cmd == 17 || cmd == 18 || cmd == 19 || cmd == 28 || cmd == 30 || cmd == 33 || cmd == 36)) close(r);
}
static unsigned long long loads_seen(unsigned long long counts[4])
{
	union bpf_attr a; __u32 zero = 0;

	memset(&a, 0, sizeof a); memset(counts, 0, 32);
	a.map_fd = lsm->maps.seen.map_fd; a.key = (long)&zero; a.value = (long)counts;
	syscall(__NR_bpf, BPF_MAP_LOOKUP_ELEM, &a, sizeof a);
	return counts[0] + counts[1];
}
static void do_watch(FILE *out)
{
	unsigned long long counts[4]; union bpf_attr a = {}; long r;

	lsm = lsm__open_and_load();
	if (!lsm) { fprintf(out, "-1 %d\n", errno); return; }
	a.link_create.prog_fd = lsm->progs.admit.prog_fd; a.link_create.attach_type = BPF_LSM_MAC;
	r = syscall(__NR_bpf, BPF_LINK_CREATE, &a, sizeof a);
	if (r > 0) lsm->links.admit_fd = r;
	seen_before = loads_seen(counts);
	fprintf(out, "%d %d\n", r < 0 ? -1 : 0, r < 0 ? errno : 0);
}
static void do_admissions(FILE *out)
{
	unsigned long long counts[4], now = loads_seen(counts); int session = syscall(__NR_keyctl, 0, -3, 0), serial = lsm->data->keyring_serial;

	fprintf(out, "0 0 %llu %d %d %s\n", now - seen_before, lsm->data->verdict, lsm->data->keyring_type,
		!serial ? "none" : serial == session ? "session" : "other");
	seen_before = now;
}
int main(int argc, char **argv)
{
	FILE *f = fopen(argv[1], "r"), *out = fopen(argv[2], "w"); char *line = NULL; size_t cap = 0; ssize_t n;
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_MEMLOCK, &all); all.rlim_cur = all.rlim_max = 65536; setrlimit(RLIMIT_NOFILE, &all);
	for (int i = 0; i < SLOTS; i++) slots[i] = -1;
	syscall(__NR_keyctl, 1, 0);
	while ((n = getline(&line, &cap, f)) > 0) {
		char *sp, *args, *next;
		if (line[n - 1] == '\n') line[--n] = 0;
		sp = strchr(line, ' '); args = sp ? sp + 1 : line + n; if (sp) *sp = 0;
		if (!strcmp(line, "case")) { new_case(); continue; }
		if (!strcmp(line, "bpf")) do_bpf(args, out);
		else if (!strcmp(line, "watch")) do_watch(out);
		else if (!strcmp(line, "admissions")) do_admissions(out);
		else if (!strcmp(line, "munmap")) { if (mapping) munmap(mapping, mapping_size); mapping = NULL; fprintf(out, "0 0\n"); }
		else if (!strcmp(line, "close")) { int s = atoi(args), r = fd_of(s) >= 0 ? close(slots[s]) : -1; if (s >= 0) slots[s] = -1; fprintf(out, "%d 0\n", r); }
		else if (!strcmp(line, "dup")) { int s, to, r; sscanf(args, "%d %d", &s, &to); r = dup(fd_of(s)); if (r >= 0) slots[to] = r; fprintf(out, "%d %d\n", r, r < 0 ? errno : 0); }
		else {
			long r = -1;
			if (!strcmp(line, "key")) {
				unsigned char *der; next = strchr(args, ' '); *next++ = 0;
				size_t k = from_hex(next, &der, 1); r = syscall(__NR_add_key, "asymmetric", args, der, k, -3); free(der);
			} else if (!strcmp(line, "keyid")) r = syscall(__NR_keyctl, 0, strtol(args, 0, 0), 0);
			else if (!strcmp(line, "caps")) {
				unsigned long long c = strtoull(args, 0, 16); struct { uint32_t version; int pid; } head = { 0x20080522, 0 }; struct { uint32_t e, p, i; } caps[2];
				syscall(SYS_capget, &head, caps); caps[0].e = c & caps[0].p; caps[1].e = (c >> 32) & caps[1].p; r = syscall(SYS_capset, &head, caps);
			} else if (!strcmp(line, "mmap")) {
				int s, prot; size_t size; sscanf(args, "%d %zu %d", &s, &size, &prot);
				void *p = mmap(NULL, size, prot, MAP_SHARED, fd_of(s), 0);
				r = p == MAP_FAILED ? -1 : 0; if (!r) { mapping = p; mapping_size = size; }
			}
			fprintf(out, "%ld %d\n", r, r < 0 ? errno : 0);
		}
		fflush(out);
	}
	fclose(out);
	return 0;
}
