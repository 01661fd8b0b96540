/* Arithmetic on sizes that come from a guest, an image or a peer. Each returns false when the
 * result does not fit, and then leaves *out alone. */
#ifndef VIV_BASE_CHECKED_H
#define VIV_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool viv_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;

    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool viv_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;

    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

/* Is [offset, offset + len) inside [0, size)? An empty range at the end is inside. */
static inline bool viv_range_inside(uint64_t offset, uint64_t len, uint64_t size)
{
    return offset <= size && len <= size - offset;
}

/* `align` is a power of two. */
static inline uint64_t viv_align_down(uint64_t v, uint64_t align)
{
    return v & ~(align - 1);
}

static inline bool viv_align_up_checked(uint64_t v, uint64_t align, uint64_t *out)
{
    uint64_t r;

    if (!viv_add_u64(v, align - 1, &r))
        return false;
    *out = r & ~(align - 1);
    return true;
}

static inline bool viv_is_aligned(uint64_t v, uint64_t align)
{
    return (v & (align - 1)) == 0;
}

#endif
