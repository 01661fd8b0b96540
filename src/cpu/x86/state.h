/* Architectural state of one x86-64 logical processor. The truth for interpreter, translator, saved state,
 * debuggers, and (after get_state) KVM. Numbers and names: Intel SDM vol. 3A chapter 2, AMD APM vol. 2.
 *
 * Flags: the six arithmetic flags live in `arith` in the shape that `lahf; seto %al` leaves in AX (AH = SF ZF -
 * AF - PF - CF, AL = OF), so that the interpreter can run the host's own ALU instruction and keep what
 * it left, undefined flags included. All other EFLAGS bits live in `eflags`, with the six as zero. */
#ifndef VIV_CPU_X86_STATE_H
#define VIV_CPU_X86_STATE_H

#include "cpu/breakpoint.h"
#include "state/state.h"

#include <stdbool.h>
#include <stdint.h>

enum { VIV_RAX, VIV_RCX, VIV_RDX, VIV_RBX, VIV_RSP, VIV_RBP, VIV_RSI, VIV_RDI };
enum { VIV_ES, VIV_CS, VIV_SS, VIV_DS, VIV_FS, VIV_GS, VIV_LDTR, VIV_TR, VIV_SEG_COUNT };

/* EFLAGS */
#define VIV_FL_CF   (1u << 0)
#define VIV_FL_PF   (1u << 2)
#define VIV_FL_AF   (1u << 4)
#define VIV_FL_ZF   (1u << 6)
#define VIV_FL_SF   (1u << 7)
#define VIV_FL_TF   (1u << 8)
#define VIV_FL_IF   (1u << 9)
#define VIV_FL_DF   (1u << 10)
#define VIV_FL_OF   (1u << 11)
#define VIV_FL_IOPL (3u << 12)
#define VIV_FL_NT   (1u << 14)
#define VIV_FL_RF   (1u << 16)
#define VIV_FL_VM   (1u << 17)
#define VIV_FL_AC   (1u << 18)
#define VIV_FL_VIF  (1u << 19)
#define VIV_FL_VIP  (1u << 20)
#define VIV_FL_ID   (1u << 21)
#define VIV_FL_ARITH                                                                               \
    (VIV_FL_CF | VIV_FL_PF | VIV_FL_AF | VIV_FL_ZF | VIV_FL_SF | VIV_FL_OF)

/* Bits of `arith`. */
#define VIV_AR_OF (1u << 0)
#define VIV_AR_CF (1u << 8)
#define VIV_AR_PF (1u << 10)
#define VIV_AR_AF (1u << 12)
#define VIV_AR_ZF (1u << 14)
#define VIV_AR_SF (1u << 15)

/* CR0, CR4, EFER */
#define VIV_CR0_PE (1u << 0)
#define VIV_CR0_MP (1u << 1)
#define VIV_CR0_EM (1u << 2)
#define VIV_CR0_TS (1u << 3)
#define VIV_CR0_ET (1u << 4)
#define VIV_CR0_NE (1u << 5)
#define VIV_CR0_WP (1u << 16)
#define VIV_CR0_AM (1u << 18)
#define VIV_CR0_NW (1u << 29)
#define VIV_CR0_CD (1u << 30)
#define VIV_CR0_PG (1u << 31)

#define VIV_CR4_VME        (1u << 0)
#define VIV_CR4_PVI        (1u << 1)
#define VIV_CR4_TSD        (1u << 2)
#define VIV_CR4_DE         (1u << 3)
#define VIV_CR4_PSE        (1u << 4)
#define VIV_CR4_PAE        (1u << 5)
#define VIV_CR4_MCE        (1u << 6)
#define VIV_CR4_PGE        (1u << 7)
#define VIV_CR4_PCE        (1u << 8)
#define VIV_CR4_OSFXSR     (1u << 9)
#define VIV_CR4_OSXMMEXCPT (1u << 10)
#define VIV_CR4_UMIP       (1u << 11)
#define VIV_CR4_LA57       (1u << 12)
#define VIV_CR4_FSGSBASE   (1u << 16)
#define VIV_CR4_PCIDE      (1u << 17)
#define VIV_CR4_OSXSAVE    (1u << 18)
#define VIV_CR4_SMEP       (1u << 20)
#define VIV_CR4_SMAP       (1u << 21)
#define VIV_CR4_PKE        (1u << 22)
#define VIV_CR4_PKS        (1u << 24)

#define VIV_EFER_SCE   (1u << 0)
#define VIV_EFER_LME   (1u << 8)
#define VIV_EFER_LMA   (1u << 10)
#define VIV_EFER_NXE   (1u << 11)
#define VIV_EFER_SVME  (1u << 12)
#define VIV_EFER_FFXSR (1u << 14)

/* Exceptions */
enum {
    VIV_DE = 0, VIV_DB = 1, VIV_NMI = 2, VIV_BP = 3, VIV_OF = 4, VIV_BR = 5, VIV_UD = 6, VIV_NM = 7,
    VIV_DF = 8, VIV_TS = 10, VIV_NP = 11, VIV_SSF = 12, VIV_GP = 13, VIV_PF = 14, VIV_MF = 16,
    VIV_AC = 17, VIV_MC = 18, VIV_XM = 19,
};

/* Segment attributes: bits 8-15 and 20-23 of a descriptor's second dword, shifted right by 8 (the layout
 * of VMX access rights): 0-3 type, 4 S, 5-6 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G. */
#define VIV_AR_TYPE(a) ((a) & 0xfu)
#define VIV_SEG_S      (1u << 4)
#define VIV_SEG_DPL(a) (((a) >> 5) & 3u)
#define VIV_SEG_P      (1u << 7)
#define VIV_SEG_L      (1u << 13)
#define VIV_SEG_DB     (1u << 14)
#define VIV_SEG_G      (1u << 15)
#define VIV_SEG_UNUSABLE (1u << 16) /* loaded with a null selector */

struct viv_seg {
    uint64_t base;
    uint32_t limit; /* in bytes, granularity applied */
    uint32_t attr;
    uint16_t sel;
};

struct viv_dtr {
    uint64_t base;
    uint16_t limit;
};

#define VIV_MTRR_VAR 8

struct viv_x86_msrs {
    uint64_t efer, star, lstar, cstar, fmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, apic_base, misc_enable, spec_ctrl, xss, tsc_aux, tsc_adjust, tsc_deadline;
    uint64_t mtrr_def_type, mtrr_fix[11], mtrr_base[VIV_MTRR_VAR], mtrr_mask[VIV_MTRR_VAR];
    uint64_t mcg_status, mcg_ctl, mc_ctl[10], mc_status[10], mc_addr[10], mc_misc[10];
    uint64_t debugctl, smbase, pkrs, platform_info, feature_control, virt_spec_ctrl, hwcr, bios_sign_id;
    uint64_t kvm_wall_clock, kvm_system_time, kvm_async_pf_en, kvm_steal_time, kvm_pv_eoi;
    uint64_t kvm_poll_control, kvm_async_pf_int;
    uint64_t tsx_ctrl, umwait_control, misc_features_enables; /* only KVM has them */
};

/* x87 and vector state. It begins as FXSAVE64 writes it and XRSTOR reads it (SDM 1, table 10-2 and 13.4), which the
 * translator has the host do in place: the bytes from 24 that have no name are overwritten then. */
struct viv_x86_fpu {
    uint16_t fcw, fsw; /* fsw holds TOP */
    uint8_t ftw;       /* abridged: 1 = in use, indexed by physical register */
    uint8_t zero;
    uint16_t fop;
    uint64_t fip, fdp;
    uint8_t host_mxcsr[8];
    uint8_t st[8][16]; /* ST(0)..ST(7) relative to TOP, 10 bytes used */
    uint8_t host_xmm[256];
    uint16_t fcs, fds;
    uint32_t mxcsr;
    uint32_t pkru;
    uint8_t unused[84];
    uint64_t xstate[8]; /* XSAVE header */
    uint8_t zmm[32][64] __attribute__((aligned(64)));
    uint64_t k[8];
};

struct viv_x86_tlb; /* cpu/x86/mmu.c */
struct viv_tlb_entry; /* cpu/x86/tlb.h */
struct viv_space;
struct viv_vcpu;
struct viv_cpuid;
struct viv_insn;
struct viv_xlate;

/* What translated code and its thunks use; not architectural. See xlate/layout.h. */
struct viv_xl_state {
    void *host_sp;      /* C stack of the thread that entered */
    uint64_t jump_key;  /* added to an address: what the jump cache is looked up by */
    uint64_t jump_mask; /* for PDEP */
    uint32_t calm;      /* 0: come out and look; any thread clears it */
    uint8_t vec_in;     /* vector registers are in the host's, not in `fpu` */
    uint8_t wide;       /* 0: host has no AVX, 1: YMM, 2: ZMM and K */
    uint16_t why;       /* enum viv_xl_why */
    uint64_t ret;       /* thunk's way back into the block */
    uint64_t save_r10;
    uint64_t arg;       /* from a thunk to C */
    uint8_t *zmm;       /* fpu.zmm, and k behind it */
    uint32_t *mxcsr;
    int64_t last;       /* XL_LAST */
    struct viv_x86_fpu *fpu;
    const struct viv_seg *seg;
    /* x87 state, like vector state, stays in the host while only translated code runs. What FIP and its kin are to become
     * is noted here meanwhile. */
    uint64_t x87_page;  /* of the last x87 instruction */
    uint64_t x87_fdp;
    uint32_t x87_last;  /* XL_X87_*: that instruction; 0: none since the state was loaded */
    uint8_t x87_in;     /* x87 state is in the host's, not in `fpu` */
    uint8_t x87_seg;    /* segment of x87_fdp; XL_NO_SEG: FDS has not changed */
    uint16_t x87_cw;    /* for FLDCW */
    uint64_t x87_masks; /* 0x3f, for PEXT */
    const void *thunk[16];
};

struct viv_x86 {
    /* The translator's hottest words, and then the registers: within a signed byte of the start, which its code
     * has in RSP. Offsets from here to `xl` are known to xlate/layout.h. */
    uint64_t xl_page;      /* linear address of the page that the running translated block lies in */
    uint64_t xl_gspace;    /* as xl_space, for pages that are mapped global */
    uint64_t xl_page_mask; /* ~0xfff, for PEXT */
    uint64_t xl_space;     /* name of what linear addresses of code lead to now; 0: look */
    /* Registers. `reg` names the same places for address arithmetic: see viv_insn.base. */
    union {
        struct {
            uint64_t gpr[16];
            uint64_t rip;      /* the current instruction while one executes */
            uint64_t next_rip; /* where execution goes on after it; branches write this */
            uint64_t zero;     /* never written */
        };
        uint64_t reg[19];
    };
    struct viv_xl_state xl;
    uint32_t eflags;   /* without the six arithmetic flags; bit 1 set */
    uint16_t arith;
    uint8_t cpl;
    uint8_t mode; /* enum viv_cpu_mode, derived from CR0, EFER, CS, EFLAGS.VM */
    struct viv_tlb_entry *tlb_cur; /* softTLB table for the current privilege: cpu/x86/tlb.h */
    /* Derived by viv_interp_context() from mode and segments, for addresses without a branch: base to add to an
     * effective address; for segments that need a limit or type check a value that makes the TLB miss. */
    uint64_t fast_base[6];
    uint64_t sp_mask;    /* width of the stack pointer */
    uint8_t canon_shift; /* 16, or 7 with LA57; 0 outside 64-bit mode */
    /* What instruction fetches have been told stays true while these keep their values: cpu/x86/code_space.h. */
    uint64_t code_space, code_space_global;

    struct viv_seg seg[VIV_SEG_COUNT];
    struct viv_dtr gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4, cr8, xcr0;
    uint64_t pdpte[4]; /* PAE paging: loaded with CR3 */
    uint64_t dr[8];
    struct viv_x86_msrs msr;
    struct viv_x86_fpu fpu;

    /* Interruptibility and events. */
    bool sti_shadow;    /* STI or MOV SS just executed: no interrupt before the next instruction ends */
    bool mov_ss_shadow; /* also holds off debug traps */
    bool nmi_blocked;
    bool nmi_pending;
    bool smi_pending;
    bool in_smm;
    bool init_held;     /* an INIT came in SMM: waits for RSM */
    bool halted;        /* HLT */
    bool wait_sipi;
    bool shutdown;      /* after a triple fault: only INIT or a reset helps (SDM 3A 6.15, #DF) */
    bool event_injected; /* an exception was being delivered when state was taken: vector, error code */
    uint8_t event_vector;
    bool event_has_error;
    uint32_t event_error;
    int64_t tsc_offset; /* guest TSC = viv_guest_tsc() + tsc_offset */

    uint64_t pending_db; /* DR6 bits of debug traps waiting for the end of the instruction */

    /* Not architectural. */
    uint64_t deferred_db; /* of pending_db what MOV SS held off, which a fault of the next instruction leaves alone */
    uint32_t attention;  /* VIV_ATT_*: nonzero makes the run loop call viv_x86_take_event() before the next
                          * instruction */
    uint64_t shadow_rip; /* where an STI shadow ends that nobody had to wait for; VIV_NO_SHADOW: nowhere */
    bool repeating;      /* RIP stands at a string instruction that has done some of its iterations */
    bool step_armed;     /* TF was set when the current instruction began */
    bool intr_latched;   /* an interrupt waits for IF, a shadow or TPR */
    bool delivering;     /* viv_x86_deliver() is at work: a fault now is a nested one */
    uint8_t deliver_vector; /* of the event being delivered, for table 6-5 */
    uint8_t deliver_kind;
    struct viv_space *mem, *io;  /* `mem`: of the two below the one that is seen now */
    struct viv_space *mem_outside, *mem_smm; /* outside SMM and in it; the same where the board has no SMRAM */
    bool monitor_armed;
    uint64_t monitor_gpa;
    struct viv_vcpu *vcpu;
    const struct viv_cpuid *cpuid; /* what this CPU promises */
    struct viv_x86_tlb *tlb;
    uint64_t xl_group[16][2];      /* xlate/group.c, by base register: addend, address of the page's flags */
    const struct viv_insn *insn;   /* being executed */
    void *interp;                  /* interpreter's own: decode cache, jump buffer */
    struct viv_xlate *xlate;       /* translator's own, NULL without it */
    struct viv_break_cpu breaks;   /* a debugger's outside the guest */
    uint64_t insn_count;           /* instructions retired, for info and tests */
};

#define VIV_NO_SHADOW (1ull << 62) /* no instruction is there */

/* Why the run loop must look closer before the next instruction. */
enum {
    VIV_ATT_SHADOW = 1 << 0, /* STI or MOV SS shadow to expire */
    VIV_ATT_TF = 1 << 1,     /* EFLAGS.TF is set: one instruction at a time */
    VIV_ATT_DEBUG = 1 << 2,  /* DR7 has enabled breakpoints: one instruction at a time */
    VIV_ATT_TRAP = 1 << 3,   /* pending_db, or step_armed */
    VIV_ATT_EVENT = 1 << 4,  /* an interrupt may have become deliverable */
    VIV_ATT_RF = 1 << 5,     /* EFLAGS.RF to be cleared after the next instruction */
    VIV_ATT_BREAKS = 1 << 6, /* a debugger outside steps, or has breakpoints (viv_debug_attention): one instruction at a time */
};

enum viv_cpu_mode {
    VIV_MODE_REAL,
    VIV_MODE_V86,
    VIV_MODE_PROT16,
    VIV_MODE_PROT32,
    VIV_MODE_COMPAT16,
    VIV_MODE_COMPAT32,
    VIV_MODE_LONG,
};

extern const struct viv_state_table viv_x86_state;

static inline uint32_t viv_arith_to_flags(uint16_t a)
{
    return ((a >> 8) & (VIV_FL_CF | VIV_FL_PF | VIV_FL_AF | VIV_FL_ZF | VIV_FL_SF)) |
           ((uint32_t)(a & 1) << 11);
}

static inline uint16_t viv_flags_to_arith(uint32_t f)
{
    return (uint16_t)(((f & (VIV_FL_CF | VIV_FL_PF | VIV_FL_AF | VIV_FL_ZF | VIV_FL_SF)) << 8) |
                      ((f >> 11) & 1));
}

static inline uint32_t viv_x86_get_eflags(const struct viv_x86 *c)
{
    return c->eflags | viv_arith_to_flags(c->arith);
}

static inline void viv_x86_set_eflags(struct viv_x86 *c, uint32_t f)
{
    c->arith = viv_flags_to_arith(f);
    c->eflags = (f & ~VIV_FL_ARITH) | 2;
}

/* Memory for one CPU and its TLB; not reset yet. NULL when there is none. `cpuid`, `mem`, `smm`, `io` borrowed. `smm`: what it sees in
 * system management mode; NULL: `mem`. */
struct viv_x86 *viv_x86_new(struct viv_vcpu *v, const struct viv_cpuid *cpuid, struct viv_space *mem, struct viv_space *smm,
                            struct viv_space *io);
void viv_x86_free(struct viv_x86 *c);

/* Power-on or INIT state (SDM 3A table 10-1). INIT keeps what the table says it keeps. */
void viv_x86_reset(struct viv_x86 *c, bool init, bool bsp);
/* Recomputes what is derived (mode, CPL, TLB, attention bits) after state was set from outside: reset, load,
 * debugger, boot loader. */
void viv_x86_update_mode(struct viv_x86 *c);

#endif
