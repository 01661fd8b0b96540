#ifndef VIV_BASE_UNITS_H
#define VIV_BASE_UNITS_H

#define VIV_KIB (1024ull)
#define VIV_MIB (1024ull * VIV_KIB)
#define VIV_GIB (1024ull * VIV_MIB)
#define VIV_TIB (1024ull * VIV_GIB)

#define VIV_NS_PER_SEC 1000000000ull
#define VIV_NS_PER_MS  1000000ull
#define VIV_NS_PER_US  1000ull

#define VIV_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The struct that embeds `member` at `ptr`. */
#define VIV_CONTAINER(ptr, type, member) ((type *)((char *)(ptr) - __builtin_offsetof(type, member)))

#endif
