/* A small 9P2000.L client that talks to a server in the same process, for its tests. */
#ifndef VIV_SHARE_P9_CLIENT_TEST_H
#define VIV_SHARE_P9_CLIENT_TEST_H

#include "share/p9.h"
#include "share/p9_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOT = 1, NOFID = -1, CLIENT_ROOM = 1 << 16 };

struct client {
    char *top, *path; /* a scratch folder; the shared one in it */
    struct viv_fsdev dev;
    struct viv_p9 *p9;
    uint8_t msg[CLIENT_ROOM], answer[CLIENT_ROOM];
    size_t len; /* of the message */
    struct p9_in in; /* the answer's fields */
};

static inline void client_run(const char *text)
{
    int status;

    g_assert(g_spawn_command_line_sync(text, NULL, NULL, &status, NULL) && !status);
}

/* b w d q: 8 to 64 bits; s: a string; x: size_t and bytes as they are. */
static inline void client_build(struct client *c, uint8_t type, const char *form, va_list ap)
{
    struct p9_out o = {c->msg, 0};

    p9_put32(&o, 0);
    p9_put8(&o, type);
    p9_put16(&o, 7);
    for (; *form; form++) {
        if (*form == 'b') {
            p9_put8(&o, (uint8_t)va_arg(ap, int));
        } else if (*form == 'w') {
            p9_put16(&o, (uint16_t)va_arg(ap, int));
        } else if (*form == 'd') {
            p9_put32(&o, va_arg(ap, uint32_t));
        } else if (*form == 'q') {
            p9_put64(&o, va_arg(ap, uint64_t));
        } else if (*form == 's') {
            const char *s = va_arg(ap, const char *);

            p9_put_str(&o, s, strlen(s));
        } else {
            size_t n = va_arg(ap, size_t);

            memcpy(o.p + o.len, va_arg(ap, const void *), n);
            o.len += n;
        }
    }
    viv_st_le32(c->msg, (uint32_t)o.len);
    c->len = o.len;
}

/* Sends c->msg in pieces of odd lengths; returns 0 or the errno of the answer, -1: there was none. */
static inline int client_send(struct client *c)
{
    struct iovec msg[3] = {{c->msg, c->len < 5 ? c->len : 5}, {c->msg + 5, c->len < 5 ? 0 : c->len < 30 ? c->len - 5 : 25}, {c->msg + 30, c->len < 30 ? 0 : c->len - 30}};
    struct iovec room[2] = {{c->answer, 13}, {c->answer + 13, CLIENT_ROOM - 13}};
    struct viv_p9_ticket t;
    size_t n;

    viv_p9_announce(c->p9, &t, msg, 3);
    n = viv_p9_serve(c->p9, &t, msg, 3, c->len, room, 2, CLIENT_ROOM);
    viv_p9_done(c->p9, &t);
    if (!n)
        return -1;
    g_assert_cmpuint(n, >=, P9_HEAD);
    g_assert_cmpuint(viv_ld_le32(c->answer), ==, n);
    g_assert_cmpuint(viv_ld_le16(c->answer + 5), ==, viv_ld_le16(c->msg + 5));
    c->in = (struct p9_in){c->answer + P9_HEAD, n - P9_HEAD};
    if (c->answer[4] == P9_LERROR + 1) {
        int e = (int)p9_get32(&c->in);

        g_assert_cmpint(e, >, 0);
        return e;
    }
    g_assert_cmpuint(c->answer[4], ==, c->msg[4] + 1);
    return 0;
}

static inline int call(struct client *c, uint8_t type, const char *form, ...)
{
    va_list ap;

    va_start(ap, form);
    client_build(c, type, form, ap);
    va_end(ap);
    return client_send(c);
}

#define D(v) ((uint32_t)(v))
#define Q(v) ((uint64_t)(v))
#define OK(c, ...) g_assert_cmpint(call(c, __VA_ARGS__), ==, 0)
#define FAILS(c, e, ...) g_assert_cmpint(call(c, __VA_ARGS__), ==, e)

/* Walks one name from ROOT to a new fid; 0 or an errno. */
static inline int walk(struct client *c, uint32_t fid, const char *name)
{
    return call(c, P9_WALK, "ddws", D(ROOT), fid, 1, name);
}

static inline void clunk(struct client *c, uint32_t fid)
{
    OK(c, P9_CLUNK, "d", fid);
}

struct attr {
    uint8_t type;
    uint64_t path, nlink, rdev, size;
    uint32_t mode, uid, gid;
};

static inline struct attr attr_of(struct client *c, uint32_t fid)
{
    struct attr a;

    OK(c, P9_GETATTR, "dq", fid, Q(0x7ff));
    g_assert_cmpuint(p9_get64(&c->in), ==, 0x7ff);
    a.type = p9_get8(&c->in);
    p9_get32(&c->in);
    a.path = p9_get64(&c->in);
    a.mode = p9_get32(&c->in);
    a.uid = p9_get32(&c->in);
    a.gid = p9_get32(&c->in);
    a.nlink = p9_get64(&c->in);
    a.rdev = p9_get64(&c->in);
    a.size = p9_get64(&c->in);
    return a;
}

/* A file in the shared folder with mode 0640, of user 1000 and group 2000, left open as `fid`. */
static inline int create(struct client *c, uint32_t fid, const char *name)
{
    OK(c, P9_WALK, "ddw", D(ROOT), fid, 0);
    return call(c, P9_LCREATE, "dsddd", fid, name, D(O_RDWR), D(0640), D(2000));
}

static inline void write_at(struct client *c, uint32_t fid, uint64_t off, const char *text)
{
    OK(c, P9_WRITE, "dqdx", fid, off, D(strlen(text)), strlen(text), text);
    g_assert_cmpuint(p9_get32(&c->in), ==, strlen(text));
}

static inline void read_at(struct client *c, uint32_t fid, uint64_t off, uint32_t len, const char *want)
{
    OK(c, P9_READ, "dqd", fid, off, len);
    g_assert_cmpuint(p9_get32(&c->in), ==, strlen(want));
    g_assert_cmpmem(c->in.p, strlen(want), want, strlen(want));
}

static inline void client_mount(struct client *c)
{
    OK(c, P9_VERSION, "ds", D(32768), "9P2000.L");
    g_assert_cmpuint(p9_get32(&c->in), ==, 32768);
    g_assert_cmpstr(p9_get_str(&c->in), ==, "9P2000.L");
    OK(c, P9_ATTACH, "ddssd", D(ROOT), D(NOFID), "root", "", D(1000));
    g_assert_cmpuint(c->in.p[0], ==, 0x80);
}

static inline struct client *client_new(enum viv_share_model model, bool readonly)
{
    struct client *c = g_new0(struct client, 1);
    struct viv_err err = VIV_ERR_INIT;

    c->top = g_dir_make_tmp("viv-9p-XXXXXX", NULL);
    g_assert(c->top);
    c->path = g_build_filename(c->top, "shared", NULL);
    g_assert(!g_mkdir(c->path, 0755));
    c->dev = (struct viv_fsdev){.id = "f", .path = c->path, .model = model, .readonly = readonly, .fmode = 0600, .dmode = 0700};
    if (viv_p9_new(&c->dev, &c->p9, &err))
        g_error("%s", err.text);
    return c;
}

static inline void client_free(struct client *c)
{
    g_autofree char *rm = g_strdup_printf("rm -rf '%s'", c->top);

    viv_p9_free(c->p9);
    client_run(rm);
    g_free(c->top);
    g_free(c->path);
    g_free(c);
}

#endif
