/* What the host's CPU has, and what the software CPU can promise on it. */
#include "cpu/x86/cpuid.h"
#include "cpu/x86/decode/row.h"

#include <cpuid.h>
#include <string.h>

static uint32_t host_reg(uint32_t leaf, uint32_t sub, unsigned reg)
{
    uint32_t r[4] = {0};

    if (!__get_cpuid_count(leaf, sub, &r[0], &r[1], &r[2], &r[3]))
        return 0;
    return r[reg];
}

void viv_cpuid_host_words(uint32_t word[VIV_FW_COUNT])
{
    static const struct {
        uint32_t leaf, sub;
        unsigned reg;
    } from[VIV_FW_COUNT] = {
#define _(id, text, leaf, sub, reg) {leaf, sub, reg},
        VIV_CPUID_WORDS(_)
#undef _
    };

    for (unsigned n = 0; n < VIV_FW_COUNT; n++)
        word[n] = from[n].leaf && from[n].leaf >> 28 != 4 ? host_reg(from[n].leaf, from[n].sub, from[n].reg)
                                                         : 0;
    word[VIV_FW_NONE] = 1;
}

/* Not tied to a row of the decoder, or to more than rows: what the system half implements. */
static const uint16_t system_features[] = {
    VIV_FT_FPU, VIV_FT_VME, VIV_FT_DE, VIV_FT_PSE, VIV_FT_TSC, VIV_FT_MSR, VIV_FT_PAE, VIV_FT_MCE,
    VIV_FT_CX8, VIV_FT_APIC, VIV_FT_SEP, VIV_FT_MTRR, VIV_FT_PGE, VIV_FT_MCA, VIV_FT_CMOV, VIV_FT_PAT,
    VIV_FT_PSE36, VIV_FT_CLFLUSH, VIV_FT_SS, VIV_FT_HT, VIV_FT_FXSR,
    VIV_FT_PCID, VIV_FT_X2APIC, VIV_FT_TSC_DEADLINE, VIV_FT_HYPERVISOR,
    VIV_FT_FSGSBASE, VIV_FT_TSC_ADJUST, VIV_FT_SMEP, VIV_FT_SMAP, VIV_FT_ERMS, VIV_FT_INVPCID,
    VIV_FT_UMIP, VIV_FT_PKU, VIV_FT_PKS, VIV_FT_LA57, VIV_FT_FSRM,
    VIV_FT_SYSCALL, VIV_FT_NX, VIV_FT_MMXEXT, VIV_FT_3DNOWPREFETCH, VIV_FT_PDPE1GB, VIV_FT_RDTSCP, VIV_FT_LM, VIV_FT_LAHF_LM,
    VIV_FT_CMP_LEGACY, VIV_FT_TOPOEXT, VIV_FT_INVTSC, VIV_FT_ARAT, VIV_FT_XGETBV1,
    VIV_FT_KVMCLOCK_OLD, VIV_FT_KVM_NOPIODELAY, VIV_FT_KVMCLOCK2, VIV_FT_KVMCLOCK_STABLE, VIV_FT_KVM_PV_IPI,
    /* True of an interpreter, and spares the guest mitigations that cost it much. */
    VIV_FT_ARCH_CAPABILITIES, VIV_FT_RDCTL_NO, VIV_FT_SKIP_L1DFL, VIV_FT_SSB_NO, VIV_FT_MDS_NO,
    VIV_FT_PSCHANGE_MC_NO, VIV_FT_TAA_NO, VIV_FT_SBDR_SSDP_NO, VIV_FT_FBSDP_NO, VIV_FT_PSDP_NO,
    VIV_FT_PBRSB_NO, VIV_FT_GDS_NO, VIV_FT_RFDS_NO, VIV_FT_BHI_NO, VIV_FT_AMD_NO_SSB, VIV_FT_LFENCE_ALWAYS_SERIALIZING,
    VIV_FT_NULL_SEL_CLR_BASE,
};

/* Run on the host's own units: promised only where the host has them. */
static const uint16_t host_run[] = {
    VIV_FT_MMX, VIV_FT_SSE, VIV_FT_SSE2, VIV_FT_SSE3, VIV_FT_SSSE3, VIV_FT_SSE41, VIV_FT_SSE42,
    VIV_FT_SSE4A, VIV_FT_PCLMULQDQ, VIV_FT_FMA, VIV_FT_FMA4, VIV_FT_XOP, VIV_FT_AES, VIV_FT_AVX,
    VIV_FT_F16C, VIV_FT_RDRAND, VIV_FT_RDSEED, VIV_FT_AVX2, VIV_FT_SHA, VIV_FT_GFNI, VIV_FT_VAES,
    VIV_FT_VPCLMULQDQ, VIV_FT_AVX_VNNI, VIV_FT_3DNOW, VIV_FT_3DNOWEXT, VIV_FT_POPCNT,
    VIV_FT_ABM, VIV_FT_BMI1, VIV_FT_BMI2, VIV_FT_ADX, VIV_FT_AVX_IFMA,
};

/* Of these all the first four or none: the interpreter runs them with 64-bit opmasks, and at every length. */
static const uint16_t avx512[] = {
    VIV_FT_AVX512F, VIV_FT_AVX512BW, VIV_FT_AVX512DQ, VIV_FT_AVX512VL, VIV_FT_AVX512CD, VIV_FT_AVX512IFMA,
    VIV_FT_AVX512VBMI, VIV_FT_AVX512VBMI2, VIV_FT_AVX512VNNI, VIV_FT_AVX512BITALG, VIV_FT_AVX512VPOPCNTDQ,
    VIV_FT_AVX512_BF16, VIV_FT_AVX512_FP16,
};

static void set(uint32_t *word, unsigned f)
{
    word[f >> 5] |= 1u << (f & 31);
}

static bool has(const uint32_t *word, unsigned f)
{
    return word[f >> 5] >> (f & 31) & 1;
}

static void set_avx512(uint32_t *word, const uint32_t *host)
{
    bool usable = true;

    set(word, VIV_FT_AVX512VL); /* of no row: it is implied by EVEX.L'L */
    for (unsigned n = 0; n < 4; n++)
        usable = usable && has(host, avx512[n]);
    for (unsigned n = 0; n < sizeof(avx512) / sizeof(avx512[0]); n++)
        if (!usable || !has(host, avx512[n]))
            word[avx512[n] >> 5] &= ~(1u << (avx512[n] & 31));
}

void viv_cpuid_drop_avx512(uint32_t word[VIV_FW_COUNT])
{
    static const uint32_t none[VIV_FW_COUNT];

    set_avx512(word, none);
}

void viv_cpuid_software_words(uint32_t word[VIV_FW_COUNT])
{
    uint32_t host[VIV_FW_COUNT];

    memset(word, 0, VIV_FW_COUNT * sizeof(word[0]));
    viv_cpuid_host_words(host);
    for (unsigned n = 0; n < viv_row_count; n++)
        set(word, viv_rows[n].feature);
    for (unsigned n = 0; n < sizeof(host_run) / sizeof(host_run[0]); n++)
        if (!has(host, host_run[n]))
            word[host_run[n] >> 5] &= ~(1u << (host_run[n] & 31));
    set_avx512(word, host);
    for (unsigned n = 0; n < sizeof(system_features) / sizeof(system_features[0]); n++)
        set(word, system_features[n]);
    /* MONITOR exists as an instruction, but its wait would not wait. */
    word[VIV_FW_1_ECX] &= ~(1u << 3);
    word[VIV_FW_NONE] = 1;
}
