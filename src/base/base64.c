#include "base/base64.h"

#include <errno.h>
#include <glib.h>

/* g_base64_decode skips over anything that is none. */
int viv_base64_decode(const char *text, size_t chars, uint8_t **out, size_t *len, struct viv_err *err)
{
    size_t digits = 0, pad = 0;
    int state = 0;
    guint save = 0;

    for (size_t i = 0; i < chars; i++) {
        char c = text[i];

        if (c == '\n' || c == '\r')
            continue;
        if (!g_ascii_isalnum(c) && c != '+' && c != '/' && c != '=')
            return viv_fail(err, EINVAL, "Base64 data contains invalid characters (byte %zu)", i);
        if (pad && c != '=')
            return viv_fail(err, EINVAL, "Base64 data goes on after its padding (byte %zu)", i);
        pad += c == '=';
        digits++;
    }
    if (pad > 2)
        return viv_fail(err, EINVAL, "Base64 data ends in %zu '=': there are two at most", pad);
    if (digits % 4)
        return viv_fail(err, EINVAL, "Base64 data has %zu characters, not a multiple of 4: something is cut off", digits);
    *out = g_malloc0(chars + 1);
    *len = g_base64_decode_step(text, chars, *out, &state, &save);
    return 0;
}
