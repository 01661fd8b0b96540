/* Base64 from outside: what is no base64 is an error. */
#ifndef VIV_BASE_BASE64_H
#define VIV_BASE_BASE64_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* RFC 4648 section 4, with line breaks. *out is g_free'd by the caller, and has a byte of 0 behind its *len bytes. -EINVAL. */
int viv_base64_decode(const char *text, size_t chars, uint8_t **out, size_t *len, struct viv_err *err);

#endif
