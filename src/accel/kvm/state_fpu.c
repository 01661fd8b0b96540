/* x87 and vector registers by the XSAVE image (SDM vol. 1, 13.4): the standard format, with the offsets that the
 * host's CPUID leaf 0DH gives. */
#include "accel/kvm/kvm_int.h"

#include "base/bytes.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/state.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { X_AVX = 2, X_OPMASK = 5, X_ZMM_HI256 = 6, X_HI16_ZMM = 7, X_PKRU = 9 };
enum { XSAVE_BV = 512, XMM = 160, ST = 32 };
enum { X87 = 1, SSE = 2 }; /* of XSTATE_BV */

/* A component inside the image, or NULL when host or image has none. */
static uint8_t *component(uint8_t *x, unsigned n, size_t size)
{
    uint32_t off = viv_kvm->xsave_offset[n];

    return off && off + size <= viv_kvm->xsave_size ? x + off : NULL;
}

static void vectors_from(struct viv_x86_fpu *f, uint8_t *x)
{
    uint64_t bv = viv_ld_le64(x + XSAVE_BV);
    uint8_t *avx = component(x, X_AVX, 256), *k = component(x, X_OPMASK, 64);
    uint8_t *hi256 = component(x, X_ZMM_HI256, 512), *hi16 = component(x, X_HI16_ZMM, 1024);
    uint8_t *pkru = component(x, X_PKRU, 4);

    memset(f->zmm, 0, sizeof(f->zmm));
    memset(f->k, 0, sizeof(f->k));
    for (unsigned i = 0; i < 16; i++) {
        if (bv & SSE)
            memcpy(f->zmm[i], x + XMM + 16 * i, 16);
        if (avx && bv >> X_AVX & 1)
            memcpy(f->zmm[i] + 16, avx + 16 * i, 16);
        if (hi256 && bv >> X_ZMM_HI256 & 1)
            memcpy(f->zmm[i] + 32, hi256 + 32 * i, 32);
        if (hi16 && bv >> X_HI16_ZMM & 1)
            memcpy(f->zmm[16 + i], hi16 + 64 * i, 64);
    }
    for (unsigned i = 0; i < 8 && k && (bv >> X_OPMASK & 1); i++)
        f->k[i] = viv_ld_le64(k + 8 * i);
    f->pkru = pkru && (bv >> X_PKRU & 1) ? viv_ld_le32(pkru) : 0;
}

/* In its initial state the image need not say so (SDM 1, 13.6). */
static void x87_from(struct viv_x86_fpu *f, const uint8_t *x)
{
    bool used = viv_ld_le64(x + XSAVE_BV) & X87;

    f->fcw = used ? viv_ld_le16(x) : 0x37f;
    f->fsw = used ? viv_ld_le16(x + 2) : 0;
    f->ftw = used ? x[4] : 0;
    f->fop = used ? viv_ld_le16(x + 6) : 0;
    f->fip = used ? viv_ld_le64(x + 8) : 0;
    f->fdp = used ? viv_ld_le64(x + 16) : 0;
    memset(f->st, 0, sizeof(f->st));
    if (used)
        memcpy(f->st, x + ST, sizeof(f->st));
}

int viv_kvm_get_fpu(struct kvm_cpu *k, struct viv_err *err)
{
    g_autofree uint8_t *x = g_malloc0(viv_kvm->xsave_size);
    struct viv_x86_fpu *f = &k->v->x86->fpu;
    int ret = viv_kvm_ioctl(k->fd, viv_kvm->cap_xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, x);

    if (ret < 0)
        return viv_fail_os(err, -ret, "KVM_GET_XSAVE of CPU %u", k->v->index);
    f->mxcsr = viv_ld_le32(x + 24);
    x87_from(f, x);
    vectors_from(f, x);
    return 0;
}

static void vectors_to(const struct viv_x86_fpu *f, uint8_t *x)
{
    uint8_t *avx = component(x, X_AVX, 256), *k = component(x, X_OPMASK, 64);
    uint8_t *hi256 = component(x, X_ZMM_HI256, 512), *hi16 = component(x, X_HI16_ZMM, 1024);
    uint8_t *pkru = component(x, X_PKRU, 4);

    for (unsigned i = 0; i < 16; i++) {
        memcpy(x + XMM + 16 * i, f->zmm[i], 16);
        if (avx)
            memcpy(avx + 16 * i, f->zmm[i] + 16, 16);
        if (hi256)
            memcpy(hi256 + 32 * i, f->zmm[i] + 32, 32);
        if (hi16)
            memcpy(hi16 + 64 * i, f->zmm[16 + i], 64);
    }
    for (unsigned i = 0; i < 8 && k; i++)
        viv_st_le64(k + 8 * i, f->k[i]);
    if (pkru)
        viv_st_le32(pkru, f->pkru);
}

/* Components that hold something, whatever XCR0 says now: PKRU counts without it (SDM 3A, 4.6.2), the others come back with their bit. */
static uint64_t filled(uint8_t *x)
{
    static const struct {
        unsigned n;
        size_t size;
    } comps[] = {{X_AVX, 256}, {X_OPMASK, 64}, {X_ZMM_HI256, 512}, {X_HI16_ZMM, 1024}, {X_PKRU, 4}};
    uint64_t bits = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(comps); i++) {
        const uint8_t *p = component(x, comps[i].n, comps[i].size);

        for (size_t at = 0; p && at < comps[i].size; at++)
            bits |= (uint64_t)(p[at] != 0) << comps[i].n;
    }
    return bits;
}

int viv_kvm_put_fpu(struct kvm_cpu *k, struct viv_err *err)
{
    g_autofree uint8_t *x = g_malloc0(viv_kvm->xsave_size);
    const struct viv_x86 *c = k->v->x86;
    const struct viv_x86_fpu *f = &c->fpu;
    int ret;

    viv_st_le16(x, f->fcw);
    viv_st_le16(x + 2, f->fsw);
    x[4] = f->ftw;
    viv_st_le16(x + 6, f->fop);
    viv_st_le64(x + 8, f->fip);
    viv_st_le64(x + 16, f->fdp);
    viv_st_le32(x + 24, f->mxcsr);
    memcpy(x + ST, f->st, sizeof(f->st));
    vectors_to(f, x);
    viv_st_le64(x + XSAVE_BV, X87 | SSE | c->xcr0 | (filled(x) & c->cpuid->xcr0_mask));
    ret = viv_kvm_ioctl(k->fd, KVM_SET_XSAVE, x);
    return ret < 0 ? viv_fail_os(err, -ret, "KVM_SET_XSAVE of CPU %u", k->v->index) : 0;
}
