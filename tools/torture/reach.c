/*
 * reach.c - which memory does the next instruction of a stopped process reach?
 *
 * An operand in memory is a ModRM byte, perhaps a SIB byte, and a displacement
 * of 0, 1 or 4 bytes.  It follows prefixes and an opcode, 1 to 4 bytes; instead
 * of knowing all opcodes we try each place, and keep what lies where we look.
 */
#include "config.h"

#include <stdbool.h>
#include <string.h>
#include <sys/ptrace.h>

#include "tools/torture/reach.h"

#ifdef __x86_64__

#include <sys/user.h>

#define N_BYTES 16 /* longest instruction is 15 */

static uint64_t reg(const struct user_regs_struct *r, uint32_t i)
{
	const uint64_t all[16] = { r->rax, r->rcx, r->rdx, r->rbx,
				   r->rsp, r->rbp, r->rsi, r->rdi,
				   r->r8,  r->r9,  r->r10, r->r11,
				   r->r12, r->r13, r->r14, r->r15 };

	return all[i & 15];
}

static uint64_t displacement(const unsigned char *p, uint32_t mod)
{
	int32_t d = 0;

	if (mod == 1)
		d = (int8_t)*p;
	else if (mod == 2)
		memcpy(&d, p, 4);
	return (uint64_t)(int64_t)d;
}

/* What the operand at @p means, with the bits that a REX prefix adds. */
static bool operand(const struct user_regs_struct *r, const unsigned char *p,
		    unsigned char rex, uint64_t *at)
{
	uint32_t mod = p[0] >> 6, rm = p[0] & 7u;
	uint32_t base = rm | (uint32_t)(rex & 1) << 3, index;

	if (mod == 3 || (mod == 0 && rm == 5))
		return false; /* a register; relative to the code */
	if (rm != 4) {
		*at = reg(r, base) + displacement(p + 1, mod);
		return true;
	}
	base = (p[1] & 7u) | (uint32_t)(rex & 1) << 3;
	index = (p[1] >> 3 & 7u) | (uint32_t)(rex >> 1 & 1) << 3;
	if (mod == 0 && (p[1] & 7u) == 5) {
		mod = 2;
		*at = 0;
	} else {
		*at = reg(r, base);
	}
	*at += displacement(p + 2, mod);
	if (index != 4)
		*at += reg(r, index) << (p[1] >> 6);
	return true;
}

static size_t add(uint64_t *at, size_t n, uint64_t new)
{
	for (size_t i = 0; i < n; i++)
		if (at[i] == new)
			return n;
	if (n < REACH_MAX)
		at[n++] = new;
	return n;
}

size_t reach(pid_t victim, uint64_t base, uint64_t bytes,
	     uint64_t at[REACH_MAX])
{
	unsigned char code[N_BYTES + 8] = { 0 }, rex = 0;
	struct user_regs_struct regs;
	size_t n = 0;

	if (ptrace(PTRACE_GETREGS, victim, 0, &regs))
		return 0;
	for (size_t i = 0; i < N_BYTES; i += 8) {
		long w = ptrace(PTRACE_PEEKTEXT, victim, regs.rip + i, 0);

		memcpy(code + i, &w, 8);
	}
	for (size_t i = 0; i < 6; i++) {
		uint64_t a;

		if (i && operand(&regs, code + i, rex, &a) && a >= base &&
		    a - base < bytes)
			n = add(at, n, a);
		if (code[i] >> 4 == 4)
			rex = code[i];
	}
	return n;
}

#else

size_t reach(pid_t victim, uint64_t base, uint64_t bytes,
	     uint64_t at[REACH_MAX])
{
	(void)victim;
	(void)base;
	(void)bytes;
	(void)at;
	return 0;
}

#endif
