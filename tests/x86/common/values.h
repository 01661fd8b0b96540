/* Operands that meet the corner cases of integer and floating-point instructions, and what a decoder row says about
 * its encoding. Shared by the differential tests. */
#ifndef VIV_TESTS_X86_VALUES_H
#define VIV_TESTS_X86_VALUES_H

#include "rnd.h"

#include "cpu/x86/decode/row.h"

#include <stdbool.h>

/* Defined by each program: an address in, near or outside its memory. */
uint64_t data_address(uint64_t *s);

uint64_t interesting(uint64_t *s);
uint32_t real32(uint64_t *s);
uint64_t real64(uint64_t *s);
void real80(uint64_t *s, uint8_t *out);
/* Bytes that mean something as integers or numbers of any format; n is a multiple of 8. */
void fill(uint64_t *s, uint8_t *p, unsigned n);
/* x87 and vector state as FXSAVE64 stores it, and the upper halves: control words with exceptions unmasked, pending and
 * not. */
void random_fp(uint64_t *s, uint8_t fx[512], uint8_t ymm[16][16]);

/* Is an encoding with `one` allowed where a row has select bits of the pair one, other? */
static inline bool allows(uint32_t select, uint32_t one, uint32_t other)
{
    return (select & one) || !(select & other);
}
/* What EVEX adds to a row: mostly as the row takes it, sometimes what it must refuse. */
struct evex_bits {
    unsigned l, aaa;
    bool w, z, b;
};
struct evex_bits random_evex(uint64_t *s, const struct viv_row *r);

/* One of the bits set in mask, 0 to 7. */
unsigned pick_bit(uint64_t *s, unsigned mask);
bool operand_kind(const struct viv_row *r, unsigned kind);
bool row_modrm(const struct viv_row *r);

#endif
