/* Loads and stores of a stated byte order at any alignment, and a sum. */
#ifndef VIV_BASE_BYTES_H
#define VIV_BASE_BYTES_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VIV_DEFINE_BYTES(bits)                                                                     \
    static inline uint##bits##_t viv_ld_le##bits(const void *p)                                    \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof(v));                                                                  \
        return le##bits##toh(v);                                                                   \
    }                                                                                              \
    static inline uint##bits##_t viv_ld_be##bits(const void *p)                                    \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof(v));                                                                  \
        return be##bits##toh(v);                                                                   \
    }                                                                                              \
    static inline void viv_st_le##bits(void *p, uint##bits##_t v)                                  \
    {                                                                                              \
        v = htole##bits(v);                                                                        \
        memcpy(p, &v, sizeof(v));                                                                  \
    }                                                                                              \
    static inline void viv_st_be##bits(void *p, uint##bits##_t v)                                  \
    {                                                                                              \
        v = htobe##bits(v);                                                                        \
        memcpy(p, &v, sizeof(v));                                                                  \
    }

VIV_DEFINE_BYTES(16)
VIV_DEFINE_BYTES(32)
VIV_DEFINE_BYTES(64)

#undef VIV_DEFINE_BYTES

/* The byte that makes the sum of these 0, as tables of firmware have one. */
static inline uint8_t viv_checksum8(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint8_t sum = 0;

    while (len--)
        sum = (uint8_t)(sum + *p++);
    return (uint8_t)-sum;
}

#endif
