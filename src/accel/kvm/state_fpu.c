/* x87 and vector registers by the XSAVE image (SDM vol. 1, 13.4): the standard format, with the offsets that the
 * host's CPUID leaf 0DH gives. */
#include "accel/kvm/kvm_int.h"

#include "base/bytes.h"
#include "cpu/x86/state.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

enum { X_AVX = 2, X_OPMASK = 5, X_ZMM_HI256 = 6, X_HI16_ZMM = 7, X_PKRU = 9 };
enum { XSAVE_BV = 512, XMM = 160, ST = 32 };

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

int viv_kvm_get_fpu(struct kvm_cpu *k, struct viv_err *err)
{
    g_autofree uint8_t *x = g_malloc0(viv_kvm->xsave_size);
    struct viv_x86_fpu *f = &k->v->x86->fpu;
    int ret = viv_kvm_ioctl(k->fd, viv_kvm->cap_xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, x);

    if (ret < 0)
        return viv_fail_os(err, -ret, "KVM_GET_XSAVE of CPU %u", k->v->index);
    f->fcw = viv_ld_le16(x);
    f->fsw = viv_ld_le16(x + 2);
    f->ftw = x[4];
    f->fop = viv_ld_le16(x + 6);
    f->fip = viv_ld_le64(x + 8);
    f->fdp = viv_ld_le64(x + 16);
    f->mxcsr = viv_ld_le32(x + 24);
    memcpy(f->st, x + ST, sizeof(f->st));
    if (!(viv_ld_le64(x + XSAVE_BV) & 1)) { /* x87 in its initial state: the image need not say so */
        f->fcw = 0x37f;
        f->fsw = 0;
        f->ftw = 0;
    }
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

int viv_kvm_put_fpu(struct kvm_cpu *k, struct viv_err *err)
{
    g_autofree uint8_t *x = g_malloc0(viv_kvm->xsave_size);
    const struct viv_x86_fpu *f = &k->v->x86->fpu;
    uint64_t bv = k->v->x86->xcr0 | 3; /* what the guest enabled, and x87 and SSE always */
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
    viv_st_le64(x + XSAVE_BV, bv);
    ret = viv_kvm_ioctl(k->fd, KVM_SET_XSAVE, x);
    return ret < 0 ? viv_fail_os(err, -ret, "KVM_SET_XSAVE of CPU %u", k->v->index) : 0;
}
