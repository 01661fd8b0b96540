/* Shared by the x87 handlers. */
#ifndef VIV_CPU_X86_INTERP_X87_H
#define VIV_CPU_X86_INTERP_X87_H

#include "cpu/x86/interp/simd.h"
#include "cpu/x86/interp/stubs.h"

#define VIV_FSW_ES (1u << 7)
#define VIV_FSW_B  (1u << 15)
#define VIV_X87_FLAGS 0x3fu /* exceptions in FSW, their masks in FCW */

/* Offsets in an FXSAVE image (SDM 1, table 10-2). */
enum {
    FX_FCW = 0, FX_FSW = 2, FX_FTW = 4, FX_FOP = 6, FX_FIP = 8, FX_FCS = 12, FX_FDP = 16, FX_FDS = 20,
    FX_MXCSR = 24, FX_MXCSR_MASK = 28, FX_ST = 32, FX_XMM = 160,
};

/* Guest state to the host's image, and back: control, status, tags, registers. */
void viv_x87_to_image(const struct viv_x86_fpu *f, uint8_t *image);
void viv_x87_from_image(struct viv_x86_fpu *f, const uint8_t *image);

/* #NM as CR0.EM and CR0.TS say; without looking at pending exceptions. */
void viv_x87_available(struct viv_x86 *c);
/* The selectors as stored: zero with CPUID's deprecation bit. */
uint16_t viv_x87_selector(const struct viv_x86 *c, uint16_t sel);

#endif
