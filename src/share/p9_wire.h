/* Numbers and strings of 9P messages: little-endian, strings of 16 bits of length and no end. */
#ifndef VIV_SHARE_P9_WIRE_H
#define VIV_SHARE_P9_WIRE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    P9_LERROR = 6,
    P9_STATFS = 8,
    P9_LOPEN = 12,
    P9_LCREATE = 14,
    P9_SYMLINK = 16,
    P9_MKNOD = 18,
    P9_RENAME = 20,
    P9_READLINK = 22,
    P9_GETATTR = 24,
    P9_SETATTR = 26,
    P9_XATTRWALK = 30,
    P9_XATTRCREATE = 32,
    P9_READDIR = 40,
    P9_FSYNC = 50,
    P9_LOCK = 52,
    P9_GETLOCK = 54,
    P9_LINK = 70,
    P9_MKDIR = 72,
    P9_RENAMEAT = 74,
    P9_UNLINKAT = 76,
    P9_VERSION = 100,
    P9_AUTH = 102,
    P9_ATTACH = 104,
    P9_FLUSH = 108,
    P9_WALK = 110,
    P9_READ = 116,
    P9_WRITE = 118,
    P9_CLUNK = 120,
    P9_REMOVE = 122,
};

enum {
    P9_HEAD = 7,      /* size[4] type[1] tag[2] */
    P9_DATA_HEAD = 11, /* of Rread and Rreaddir: head, count[4] */
    P9_WRITE_HEAD = 23, /* of Twrite: head, fid[4], offset[8], count[4] */
    P9_IO_HEAD = 24,  /* what clients take off msize for data */
    P9_SMALL = 8192,  /* the longest message without data: names and a link's target */
    P9_QID_SIZE = 13,
};

/* Reads a private copy of the message. After a field that is not there `bad` is set, and all is 0 and "". */
struct p9_in {
    uint8_t *p;
    size_t left;
    bool bad;
};

struct p9_out {
    uint8_t *p;
    size_t len; /* so far */
};

static inline uint8_t *p9_take(struct p9_in *in, size_t n)
{
    uint8_t *p = in->p;

    if (in->bad || in->left < n) {
        in->bad = true;
        return NULL;
    }
    in->p += n;
    in->left -= n;
    return p;
}

static inline uint8_t p9_get8(struct p9_in *in)
{
    uint8_t *p = p9_take(in, 1);

    return p ? *p : 0;
}

static inline uint16_t p9_get16(struct p9_in *in)
{
    uint8_t *p = p9_take(in, 2);

    return p ? viv_ld_le16(p) : 0;
}

static inline uint32_t p9_get32(struct p9_in *in)
{
    uint8_t *p = p9_take(in, 4);

    return p ? viv_ld_le32(p) : 0;
}

static inline uint64_t p9_get64(struct p9_in *in)
{
    uint8_t *p = p9_take(in, 8);

    return p ? viv_ld_le64(p) : 0;
}

/* With a NUL at its end, for which it moves a byte to the front, over its own length. One with a NUL inside is bad. */
static inline const char *p9_get_str(struct p9_in *in)
{
    uint16_t n = p9_get16(in);
    uint8_t *p = p9_take(in, n);

    if (!p || memchr(p, 0, n)) {
        in->bad = true;
        return "";
    }
    memmove(p - 1, p, n);
    p[n - 1] = 0;
    return (char *)p - 1;
}

/* Answers are bounded by P9_SMALL: by what handlers put into them. */
static inline void p9_put8(struct p9_out *o, uint8_t v)
{
    o->p[o->len++] = v;
}

static inline void p9_put16(struct p9_out *o, uint16_t v)
{
    viv_st_le16(o->p + o->len, v);
    o->len += 2;
}

static inline void p9_put32(struct p9_out *o, uint32_t v)
{
    viv_st_le32(o->p + o->len, v);
    o->len += 4;
}

static inline void p9_put64(struct p9_out *o, uint64_t v)
{
    viv_st_le64(o->p + o->len, v);
    o->len += 8;
}

static inline void p9_put_str(struct p9_out *o, const char *s, size_t n)
{
    p9_put16(o, (uint16_t)n);
    memcpy(o->p + o->len, s, n);
    o->len += n;
}

#endif
