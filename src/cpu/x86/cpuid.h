/* CPUID: what a virtual CPU promises. Models are data (cpuid_models.def), features are bits with names
 * (cpuid_features.def). A row of the decoder names the feature it needs; #UD when the model lacks it. */
#ifndef VIV_CPU_X86_CPUID_H
#define VIV_CPU_X86_CPUID_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Feature words: 32 bits of one CPUID output register each. The first one is ours: its bit 0 is always set,
 * so that feature 0 means "needs nothing". */
#define VIV_CPUID_WORDS(_)                                                                         \
    _(NONE, "", 0, 0, 0)                                                                           \
    _(1_EDX, "CPUID.01H:EDX", 0x1, 0, 3)                                                           \
    _(1_ECX, "CPUID.01H:ECX", 0x1, 0, 2)                                                           \
    _(7_EBX, "CPUID.07H:EBX", 0x7, 0, 1)                                                           \
    _(7_ECX, "CPUID.07H:ECX", 0x7, 0, 2)                                                           \
    _(7_EDX, "CPUID.07H:EDX", 0x7, 0, 3)                                                           \
    _(7_1_EAX, "CPUID.07H.1:EAX", 0x7, 1, 0)                                                       \
    _(E1_EDX, "CPUID.80000001H:EDX", 0x80000001, 0, 3)                                             \
    _(E1_ECX, "CPUID.80000001H:ECX", 0x80000001, 0, 2)                                             \
    _(E7_EDX, "CPUID.80000007H:EDX", 0x80000007, 0, 3)                                             \
    _(E8_EBX, "CPUID.80000008H:EBX", 0x80000008, 0, 1)                                             \
    _(EA_EDX, "CPUID.8000000AH:EDX", 0x8000000a, 0, 3)                                             \
    _(E21_EAX, "CPUID.80000021H:EAX", 0x80000021, 0, 0)                                            \
    _(D1_EAX, "CPUID.0DH.1:EAX", 0xd, 1, 0)                                                        \
    _(6_EAX, "CPUID.06H:EAX", 0x6, 0, 0)                                                           \
    _(KVM_EAX, "CPUID.40000001H:EAX", 0x40000001, 0, 0)                                            \
    _(ARCH_CAP, "MSR(10AH)", 0, 0, 0)

enum viv_cpuid_word {
#define _(id, text, leaf, sub, reg) VIV_FW_##id,
    VIV_CPUID_WORDS(_)
#undef _
        VIV_FW_COUNT
};

/* VIV_FT_AVX2 and so on: word * 32 + bit. */
enum viv_feature {
    VIV_FT_NONE = 0,
#define _(word, bit, id, name) VIV_FT_##id = VIV_FW_##word * 32 + (bit),
#include "cpu/x86/cpuid_features.def"
#undef _
};

enum viv_cpu_vendor { VIV_VENDOR_INTEL, VIV_VENDOR_AMD, VIV_VENDOR_OTHER };

struct viv_cache_info { /* one cache, as leaves 4 and 8000001DH tell it */
    uint8_t level, type;  /* type: 1 data, 2 instruction, 3 unified */
    uint16_t line;        /* bytes */
    uint16_t ways;
    uint32_t sets;
    bool shared; /* by all threads of a socket; else by those of a core */
};

#define VIV_CPUID_CACHES 4

/* What one VM's CPUs are: a model with -cpu's changes, then restricted by the accelerator
 * (filter_cpuid). Constant once the vCPUs exist. */
struct viv_cpuid {
    const char *model; /* borrowed, static: "qemu64" */
    uint32_t word[VIV_FW_COUNT];
    uint32_t asked[VIV_FW_COUNT]; /* features a person asked for with +f or f=on */
    char vendor[13];
    enum viv_cpu_vendor kind;
    uint32_t family, family_model, stepping;
    uint32_t level, xlevel; /* highest basic and extended leaf */
    char model_id[49];
    uint8_t phys_bits, virt_bits;
    bool phys_bits_asked; /* by a person; else an accelerator may take fewer */
    struct viv_cache_info cache[VIV_CPUID_CACHES];
    unsigned caches;
    /* Topology, from -smp. */
    unsigned sockets, dies, cores, threads;
    uint64_t tsc_hz;     /* 0: viv_tsc_hz() */
    bool kvm_leaves;     /* 40000000H.. announced (kvm=off hides them) */
    bool hidden;         /* hypervisor=off */
    bool enforce, check; /* -cpu X,enforce / check=off */
    bool host;           /* model host or max: everything the accelerator has */
    uint64_t xcr0_mask;  /* state components that may be enabled; derived from word[] */
    uint64_t xss_mask;
};

static inline bool viv_cpuid_has(const struct viv_cpuid *m, enum viv_feature f)
{
    return m->word[f >> 5] >> (f & 31) & 1;
}

/* Parses -cpu text ("Skylake-Client-v3,+avx2,-hle,model-id=...") into a newly made model (g_free). NULL text is the
 * caller's business: it knows the machine's default. Unknown models and features are refused with the nearest
 * known one. Topology is set afterwards with viv_cpuid_set_topology. Before threads start. */
int viv_cpuid_parse(const char *text, struct viv_cpuid **out, struct viv_err *err);
void viv_cpuid_set_topology(struct viv_cpuid *m, unsigned sockets, unsigned dies, unsigned cores,
                            unsigned threads);
/* Makes the model a 32-bit CPU: without long mode and what only long mode has. Refused when long mode was asked for by
 * name (+lm) or with enforce. After viv_cpuid_parse, before threads start. */
int viv_cpuid_drop_long_mode(struct viv_cpuid *m, struct viv_err *err);
/* Recomputes what follows from word[] (xcr0_mask, levels): after a filter changed features. */
void viv_cpuid_finish(struct viv_cpuid *m);
/* `-cpu help`. */
void viv_cpuid_help(FILE *out);

/* The APIC id of CPU `index` in m's topology (bits for thread, core, die, socket). */
uint32_t viv_cpuid_apic_id(const struct viv_cpuid *m, unsigned index);

/* EAX of leaf 1: family, model, stepping. */
uint32_t viv_cpuid_signature(const struct viv_cpuid *m);
/* One leaf without what the running CPU adds (OSXSAVE, OSPKE, XSAVE size of XCR0): out = EAX EBX ECX EDX.
 * Leaves out of range answer as the vendor's CPUs do. Any thread. */
void viv_cpuid_leaf(const struct viv_cpuid *m, uint32_t apic_id, uint32_t leaf, uint32_t subleaf,
                    uint32_t out[4]);
/* As the instruction gives it on this CPU now. */
struct viv_x86;
void viv_cpuid_execute(const struct viv_x86 *c, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

/* Keeps what `have` has; features dropped are listed in one warning line (names of those asked for with + make
 * it an error with `enforce`). `who` names the accelerator. Used by filter_cpuid. */
int viv_cpuid_restrict(struct viv_cpuid *m, const uint32_t have[VIV_FW_COUNT], const char *who,
                       struct viv_err *err);
/* The feature words of the CPU we run on, from the CPUID instruction. */
void viv_cpuid_host_words(uint32_t word[VIV_FW_COUNT]);
/* What the software CPU executes here: implemented, and for what it runs on the host's own units, present in
 * the host too. */
void viv_cpuid_software_words(uint32_t word[VIV_FW_COUNT]);
/* Clears AVX-512 in all its parts. */
void viv_cpuid_drop_avx512(uint32_t word[VIV_FW_COUNT]);
/* The name of a feature bit, NULL when it has none. */
const char *viv_cpuid_feature_name(enum viv_cpuid_word word, unsigned bit);

/* XSAVE layout (standard form): size and offset of component n in leaf 0DH; false when not a component. */
bool viv_xsave_component(unsigned n, uint32_t *size, uint32_t *offset);
/* Bytes of the area for these components: standard form, or compacted. */
uint32_t viv_xsave_size(uint64_t components, bool compacted);

#endif
