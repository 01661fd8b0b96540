/* zlib streams that go on from one rectangle to the next. */
#ifndef VIV_UI_VNC_SQUEEZE_H
#define VIV_UI_VNC_SQUEEZE_H

#include <glib.h>
#include <stdint.h>
#include <zlib.h>

/* `level`: 0 to 9, as clients say it. */
void vnc_squeeze_init(z_stream *z, int level);
/* Appends to out what the other side needs to have all of `data`. */
void vnc_squeeze(z_stream *z, int level, const uint8_t *data, size_t len, GByteArray *out);

#endif
