/* Where things lie around struct viv_x86, for translated code and thunks.S. Checked in engine.c.
 *
 * One mapping a vCPU: guard page, a small stack for return addresses and signal frames, struct viv_x86, the
 * first-level TLB, the jump cache. Translated code has RSP = the struct - XL_SP, so `[rsp + disp8]` reaches the
 * registers that have no host register, and CALL pushes below it. */
#ifndef VIV_CPU_X86_XLATE_LAYOUT_H
#define VIV_CPU_X86_XLATE_LAYOUT_H

#define XL_GUARD 0x1000
#define XL_STACK 0x10000 /* below the struct; a signal frame with all of AVX-512 and AMX takes 12 KiB */

/* First-level TLB: 65536 slots by address bits 12-27, arrays of 8-byte values, one set for CPL 0-2 and one for CPL 3.
 * Slot 65536 is for one access that must not be remembered. */
#define XL_L1_SLOTS  0x10000
#define XL_L1_ARRAY  0x81000
#define XL_L1        0x10000 /* from the struct */
#define XL_L1_READ   0                 /* minus the page address; 0: see l1.c */
#define XL_L1_WRITE  (1 * XL_L1_ARRAY)
#define XL_L1_ADDEND (2 * XL_L1_ARRAY) /* host minus linear address */
#define XL_L1_FLAGS  (3 * XL_L1_ARRAY) /* address of the page's word in viv_arena_flags */
#define XL_L1_SET    (4 * XL_L1_ARRAY)

/* Jump cache: 131072 entries of 16 bytes, minus (address + jump_key) and host code; by bits 2 to 18 of the sum, so that
 * neighbours share cache lines, and processes and privileges that run the same addresses do not share entries. */
#define XL_JC       (XL_L1 + 2 * XL_L1_SET)
#define XL_JC_BITS  17
#define XL_JC_BYTES (16 << XL_JC_BITS)
#define XL_JC_INDEX(sum) ((sum) >> 2 & ((1 << XL_JC_BITS) - 1))
#define XL_REGION   (XL_JC + XL_JC_BYTES) /* bytes from the struct on */

/* struct viv_x86, from RSP. That is 4 bytes below it, so that SHRX by RSP, which takes 6 bits of it, shifts by 60 (mem.c). */
#define XL_SP       4
#define XL_O_PAGE   (XL_SP + 0)
#define XL_O_GSPACE (XL_SP + 8)
#define XL_O_MASK   (XL_SP + 16)
#define XL_O_SPACE  (XL_SP + 24)
#define XL_O_GPR    (XL_SP + 32)
#define XL_O_RIP    (XL_SP + 160)
#define XL_O_XL     (XL_SP + 184)
#define XL_O_HOSTSP (XL_O_XL + 0)
#define XL_O_JKEY   (XL_O_XL + 8)
#define XL_O_JMASK  (XL_O_XL + 16)
#define XL_O_CALM   (XL_O_XL + 24)
#define XL_O_VECIN  (XL_O_XL + 28)
#define XL_O_WIDE   (XL_O_XL + 29)
#define XL_O_WHY    (XL_O_XL + 30)
#define XL_O_RET    (XL_O_XL + 32)
#define XL_O_R10    (XL_O_XL + 40)
#define XL_O_ARG    (XL_O_XL + 48)
#define XL_O_ZMM    (XL_O_XL + 56)
#define XL_O_MXCSR  (XL_O_XL + 64)
#define XL_O_LAST   (XL_O_XL + 72)
#define XL_O_FPU    (XL_O_XL + 80)
#define XL_O_SEG    (XL_O_XL + 88)
#define XL_O_FPAGE  (XL_O_XL + 96)
#define XL_O_FDP    (XL_O_XL + 104)
#define XL_O_FLAST  (XL_O_XL + 112)
#define XL_O_X87IN  (XL_O_XL + 116)
#define XL_O_FSEG   (XL_O_XL + 117)
#define XL_O_FCW    (XL_O_XL + 118)
#define XL_O_FMASKS (XL_O_XL + 120)
#define XL_O_THUNK  (XL_O_XL + 128)
#define XL_O_ARITH  (XL_O_THUNK + 16 * 8 + 4)

/* Thunks, by index in xl.thunk. Those marked (d) are called from the block with 4 bytes of data behind the call. */
#define XL_T_EXIT       0  /* (d) offset in the page of the next instruction */
#define XL_T_LINK       1  /* (d) place of the site in the arena, that wants to lead on directly */
#define XL_T_JUMP_MISS  2  /* jump; c->rip: target, not in the jump cache */
#define XL_T_MISS       3  /* (d) XL_I_*; r10: linear address; back behind the data with r11: slot */
#define XL_T_STORED     4  /* (d) offset of the next instruction; r11: the page's word in viv_arena_flags */
#define XL_T_STORED_RIP 5  /* call; c->rip is right already; r11: the same */
#define XL_T_EXEC       6  /* call; r11: struct viv_insn *, ecx: its offset in the page */
#define XL_T_EXEC_END   7  /* jump; same, and the block ends */
#define XL_T_VEC        8  /* call; vector registers into the host's */
#define XL_T_FAULT      9  /* jump; rcx: offset of the instruction: the interpreter does it */
#define XL_T_CROSS      10 /* (d) place of the block in the arena, whose instruction crosses into a page that may be another now */
#define XL_T_GROUP      11 /* (d) size of the range, XL_I_WRITE; r10: its linear address; back behind the data, or with r11:
                            * slot, 5 bytes further */
#define XL_T_X87        12 /* call; x87 state into the host's */
#define XL_T_JUMP_AT    13 /* (d) as JUMP_MISS, with XL_LAST */
#define XL_T_COUNT      14
#define XL_T_JUMP       14 /* no thunk: the common code's jump through the cache, rcx: target */

/* What xl.last says about the jump that has missed: offset and what it has added to RSP; negative: place of the site
 * in the arena, inverted. */
#define XL_LAST(off, sp) (((sp) + 16) << 12 | (off))
#define XL_LAST_NONE     0x7fffffff /* no branch: a handler has set RIP */
#define XL_LAST_OFF(v)   ((v) & 0xfff)
#define XL_LAST_SP(v)    (((v) >> 12) - 16)

/* xl.x87_last: offset in its page, FOP, and a bit that says that there is one. */
#define XL_X87_FOP(n)  ((n) << 16)
#define XL_X87_SET     0x80000000
#define XL_NO_SEG      0xff

/* struct viv_x86_fpu and struct viv_seg, for thunks.S */
#define XL_FPU_FTW   4
#define XL_FPU_FOP   6
#define XL_FPU_FIP   8
#define XL_FPU_FDP   16
#define XL_FPU_FCS   416
#define XL_FPU_FDS   418
#define XL_FPU_STATE 512 /* XSTATE_BV */
#define XL_SEG_BYTES 24
#define XL_SEG_SEL   16
#define XL_SEG_CS    1

/* What a miss is about: offset of the instruction in its page (may be beyond its end), size, flags. */
#define XL_I_OFFSET(i) ((i) & 0xffff)
#define XL_I_SIZE(i)   (((i) >> 16) & 0x7f)
#define XL_I_WRITE     (1 << 23)
#define XL_I_X87       (1 << 24) /* the block relies on x87 state in the host's */
#define XL_I_MASKED    (1 << 25) /* nothing is raised */

/* What the question about the space holds before it is asked: no name is known to be this. */
#define XL_SPACE_NEVER 0x7db1c3a5f2e96b48

/* enum viv_xl_why */
#define XL_WHY_NEXT   0 /* go on at c->rip */
#define XL_WHY_LINK   1 /* arg: site */
#define XL_WHY_INTERP 2 /* the interpreter does the instruction at c->rip */
#define XL_WHY_JUMP   3 /* jump cache miss */
#define XL_WHY_CROSS  4 /* arg: block */

#endif
