/* Tables of functions are filled by the functions' names. Two of one type that change places compile otherwise, and the wrong one is
 * called. */
#ifndef VIV_BASE_BYNAME_H
#define VIV_BASE_BYNAME_H

#if defined(__GNUC__) && !defined(__clang__)
#define VIV_BY_NAME __attribute__((designated_init)) /* struct S {...} VIV_BY_NAME; */
#else
#define VIV_BY_NAME
#endif

#endif
