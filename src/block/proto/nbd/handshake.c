/* "Handshake" of proto.md: fixed newstyle, with newstyle and oldstyle for old servers (no TLS, no structured replies). */
#include "block/proto/nbd/handshake.h"
#include "block/proto/nbd/wire.h"

#include "base/checked.h"
#include "base/units.h"
#include "host/clock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define REPLY_MAX    65536u
#define LIST_MAX     4096u /* exports or contexts */
#define DEFAULT_PREF 4096u

/* An option's reply. Data is NUL-terminated behind its length. */
struct reply {
    uint32_t type, len;
    uint8_t *data;
};

char *viv_nbd_clean_text(const void *text, size_t len)
{
    char *s = g_utf8_make_valid(text, MIN(len, VIV_NBD_MAX_STRING));

    for (char *p = s; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = ' ';
    return s;
}

void viv_nbd_info_fini(struct viv_nbd_info *i)
{
    g_free(i->name);
    g_free(i->description);
    *i = (struct viv_nbd_info){0};
}

static int io_fail(int ret, struct viv_err *err)
{
    if (ret == -ETIMEDOUT)
        return viv_fail(err, ETIMEDOUT, "the server did not answer in time (do other clients use all its connections?)");
    if (ret == -ECONNRESET)
        return viv_fail(err, ECONNRESET, "the server closed the connection during the handshake");
    return viv_fail_os(err, -ret, "handshake with the server failed");
}

static int get(struct viv_nbd_chan *c, void *buf, size_t len, struct viv_err *err)
{
    int ret = viv_nbd_chan_read(c, buf, len);

    return ret ? io_fail(ret, err) : 0;
}

static int send_option(struct viv_nbd_chan *c, uint32_t option, const void *data, uint32_t len, struct viv_err *err)
{
    uint8_t head[16];
    struct iovec v[2] = {{head, sizeof(head)}, {(void *)data, len}};
    int ret;

    viv_st_be64(head, VIV_NBD_OPTS_MAGIC);
    viv_st_be32(head + 8, option);
    viv_st_be32(head + 12, len);
    ret = viv_nbd_chan_writev(c, v, len ? 2 : 1);
    return ret ? io_fail(ret, err) : 0;
}

static int recv_reply(struct viv_nbd_chan *c, uint32_t option, struct reply *r, struct viv_err *err)
{
    uint8_t head[20];
    int ret = get(c, head, sizeof(head), err);

    *r = (struct reply){0};
    if (ret)
        return ret;
    if (viv_ld_be64(head) != VIV_NBD_REP_MAGIC || viv_ld_be32(head + 8) != option)
        return viv_fail(err, EPROTO, "the server's answer to option %u is not one", option);
    r->type = viv_ld_be32(head + 12);
    r->len = viv_ld_be32(head + 16);
    if (r->len > REPLY_MAX)
        return viv_fail(err, EPROTO, "the server's answer to option %u is %u bytes long (%u are allowed)", option, r->len,
                        REPLY_MAX);
    r->data = g_malloc(r->len + 1);
    r->data[r->len] = '\0';
    ret = get(c, r->data, r->len, err);
    if (ret)
        g_clear_pointer(&r->data, g_free);
    return ret;
}

/* What an error reply means, with the server's own words behind it. */
static int refused(const struct reply *r, const char *export_name, struct viv_err *err)
{
    g_autofree char *said = viv_nbd_clean_text(r->data, r->len);
    const char *what = "the server refused";
    int code = EINVAL;

    switch (r->type) {
    case VIV_NBD_REP_ERR_UNSUP:
        what = "the server does not know this option";
        code = ENOTSUP;
        break;
    case VIV_NBD_REP_ERR_POLICY:
        what = "the server's policy refuses this";
        code = EACCES;
        break;
    case VIV_NBD_REP_ERR_TLS_REQD:
        what = "the server requires TLS: give it tls-creds=ID (with --object tls-creds-x509 or tls-creds-psk), or an nbds:// "
               "address";
        code = EACCES;
        break;
    case VIV_NBD_REP_ERR_UNKNOWN:
        what = "Requested export not available";
        code = ENOENT;
        break;
    case VIV_NBD_REP_ERR_SHUTDOWN:
        what = "the server is shutting down";
        code = ESHUTDOWN;
        break;
    }
    return viv_fail(err, code, "%s%s%.200s%s%s%.300s", what, export_name ? ": '" : "", export_name ? export_name : "",
                    export_name ? "'" : "", *said ? "; server reported: " : "", said);
}

/* An option that is answered by ACK or an error: 0, or 1 when refused (r->data is then the caller's). */
static int simple_option(struct viv_nbd_chan *c, uint32_t option, struct reply *r, struct viv_err *err)
{
    int ret = send_option(c, option, NULL, 0, err);

    if (!ret)
        ret = recv_reply(c, option, r, err);
    if (ret)
        return ret;
    if (r->type & VIV_NBD_REP_ERROR)
        return 1;
    g_clear_pointer(&r->data, g_free);
    return r->type == VIV_NBD_REP_ACK ? 0 : viv_fail(err, EPROTO, "the server's answer to option %u is of type %u", option,
                                                     r->type);
}

static int start_tls(struct viv_nbd_chan *c, const struct viv_nbd_target *t, struct viv_err *err)
{
    const char *hostname = t->tls_hostname ? t->tls_hostname : t->host;
    struct reply r;
    int ret = simple_option(c, VIV_NBD_OPT_STARTTLS, &r, err);

    if (ret == 1) {
        ret = refused(&r, NULL, err);
        viv_err_prefix(err, "the server does not offer TLS, which is asked for");
        g_free(r.data);
    }
    return ret ? ret : viv_nbd_chan_start_tls(c, t->creds, hostname, err);
}

/* Magic and flags; *fixed, *old: which style. */
static int hello(struct viv_nbd_chan *c, bool *fixed, bool *no_zeroes, bool *old, struct viv_err *err)
{
    uint8_t b[16];
    uint32_t reply;
    uint16_t flags;
    int ret = get(c, b, 16, err);

    if (ret)
        return ret;
    if (viv_ld_be64(b) != VIV_NBD_INIT_MAGIC)
        return viv_fail(err, EPROTO, "what answers there is no NBD server");
    *old = viv_ld_be64(b + 8) == VIV_NBD_OLD_MAGIC;
    if (*old)
        return 0;
    if (viv_ld_be64(b + 8) != VIV_NBD_OPTS_MAGIC)
        return viv_fail(err, EPROTO, "the NBD server's greeting is of no known style");
    ret = get(c, b, 2, err);
    if (ret)
        return ret;
    flags = viv_ld_be16(b);
    *fixed = flags & VIV_NBD_HS_FIXED;
    *no_zeroes = flags & VIV_NBD_HS_NO_ZEROES;
    reply = flags & (VIV_NBD_HS_FIXED | VIV_NBD_HS_NO_ZEROES);
    viv_st_be32(b, reply);
    ret = viv_nbd_chan_write(c, b, 4);
    return ret ? io_fail(ret, err) : 0;
}

static void set_defaults(struct viv_nbd_info *i)
{
    i->min_block = 1;
    i->pref_block = DEFAULT_PREF;
    i->max_payload = VIV_NBD_MAX_PAYLOAD;
}

/* Size and flags, whichever way they came. */
static int take_export(struct viv_nbd_info *i, uint64_t size, uint16_t flags, struct viv_err *err)
{
    if (size > INT64_MAX)
        return viv_fail(err, EFBIG, "the export's size of %llu bytes is more than can be used", (unsigned long long)size);
    i->size = size;
    i->flags = flags & VIV_NBD_HAS_FLAGS ? flags : VIV_NBD_HAS_FLAGS;
    return 0;
}

/* "Size constraints" */
static int take_blocks(struct viv_nbd_info *i, const uint8_t *p, struct viv_err *err)
{
    uint32_t min = viv_ld_be32(p), pref = viv_ld_be32(p + 4), max = viv_ld_be32(p + 8);

    if (!min || (min & (min - 1)) || min > 65536 || !pref || (pref & (pref - 1)) || pref < min || max < min)
        return viv_fail(err, EPROTO, "the server's block sizes (minimum %u, preferred %u, maximum %u) cannot be", min, pref,
                        max);
    i->has_blocks = true;
    i->min_block = min;
    i->pref_block = pref;
    i->max_payload = viv_align_down(MIN(max, VIV_NBD_MAX_PAYLOAD), min);
    return 0;
}

static int take_info(struct viv_nbd_info *i, const struct reply *r, bool *have_export, struct viv_err *err)
{
    uint16_t type = r->len < 2 ? 0 : viv_ld_be16(r->data);

    if (r->len < 2)
        return viv_fail(err, EPROTO, "the server's information about the export is too short");
    switch (type) {
    case VIV_NBD_INFO_EXPORT:
        if (r->len != 12)
            break;
        *have_export = true;
        return take_export(i, viv_ld_be64(r->data + 2), viv_ld_be16(r->data + 10), err);
    case VIV_NBD_INFO_BLOCK_SIZE:
        if (r->len != 14)
            break;
        return take_blocks(i, r->data + 2, err);
    case VIV_NBD_INFO_NAME:
        g_free(i->name);
        i->name = viv_nbd_clean_text(r->data + 2, r->len - 2);
        return 0;
    case VIV_NBD_INFO_DESCRIPTION:
        g_free(i->description);
        i->description = viv_nbd_clean_text(r->data + 2, r->len - 2);
        return 0;
    default: /* "MUST ignore information types that it does not recognize" */
        return 0;
    }
    return viv_fail(err, EPROTO, "the server's information %u about the export is %u bytes long", type, r->len);
}

/* INFO or GO. 0, 1: the server knows neither, or negative errno. */
static int ask_or_go(struct viv_nbd_chan *c, uint32_t option, const char *name, struct viv_nbd_info *i, struct viv_err *err)
{
    static const uint16_t wanted[] = {VIV_NBD_INFO_BLOCK_SIZE, VIV_NBD_INFO_NAME, VIV_NBD_INFO_DESCRIPTION};
    unsigned asks = option == VIV_NBD_OPT_INFO ? 3 : 1, replies = 0;
    uint32_t name_len = strlen(name), len = 4 + name_len + 2 + 2 * asks;
    g_autofree uint8_t *data = g_malloc(len);
    bool have_export = false;
    int ret;

    viv_st_be32(data, name_len);
    memcpy(data + 4, name, name_len);
    viv_st_be16(data + 4 + name_len, asks);
    for (unsigned k = 0; k < asks; k++)
        viv_st_be16(data + 6 + name_len + 2 * k, wanted[k]);
    set_defaults(i);
    ret = send_option(c, option, data, len, err);
    while (!ret) {
        struct reply r;

        ret = recv_reply(c, option, &r, err);
        if (ret)
            return ret;
        if (r.type & VIV_NBD_REP_ERROR)
            ret = r.type == VIV_NBD_REP_ERR_UNSUP ? 1 : refused(&r, name, err);
        else if (r.type == VIV_NBD_REP_INFO && ++replies < LIST_MAX)
            ret = take_info(i, &r, &have_export, err);
        else if (r.type != VIV_NBD_REP_ACK || !have_export)
            ret = viv_fail(err, EPROTO, "the server's answer about the export makes no sense");
        g_free(r.data);
        if (!ret && r.type == VIV_NBD_REP_ACK)
            break;
    }
    i->size = viv_align_down(i->size, i->min_block); /* "unable to access the final few bytes" */
    return ret;
}

/* EXPORT_NAME, and what oldstyle servers send unasked (flag_bytes 4). */
static int read_export(struct viv_nbd_chan *c, struct viv_nbd_info *i, unsigned flag_bytes, bool zeroes, struct viv_err *err)
{
    uint8_t b[12];
    int ret = get(c, b, 8 + flag_bytes, err);

    set_defaults(i);
    if (!ret)
        ret = take_export(i, viv_ld_be64(b), viv_ld_be16(b + 8 + flag_bytes - 2), err);
    if (!ret && zeroes && (ret = viv_nbd_chan_skip(c, 124)) != 0)
        ret = io_fail(ret, err);
    return ret;
}

/* LIST_META_CONTEXT and SET_META_CONTEXT: replies as they come. `query` NULL: all. */
static int contexts(struct viv_nbd_chan *c, uint32_t option, const char *name, const char *query,
                    int (*found)(void *opaque, uint32_t id, const char *context), void *opaque, struct viv_err *err)
{
    uint32_t name_len = strlen(name), q_len = query ? strlen(query) : 0, len = 8 + name_len + (query ? 4 + q_len : 0);
    g_autofree uint8_t *data = g_malloc(len);
    unsigned replies = 0;
    int ret;

    viv_st_be32(data, name_len);
    memcpy(data + 4, name, name_len);
    viv_st_be32(data + 4 + name_len, query ? 1 : 0);
    if (query) {
        viv_st_be32(data + 8 + name_len, q_len);
        memcpy(data + 12 + name_len, query, q_len);
    }
    ret = send_option(c, option, data, len, err);
    while (!ret) {
        struct reply r;
        bool last;

        ret = recv_reply(c, option, &r, err);
        if (ret)
            return ret;
        last = r.type == VIV_NBD_REP_ACK || (r.type & VIV_NBD_REP_ERROR);
        if (r.type & VIV_NBD_REP_ERROR)
            ret = 1;
        else if (r.type == VIV_NBD_REP_META_CONTEXT && r.len >= 5 && r.len - 4 <= VIV_NBD_MAX_STRING && ++replies < LIST_MAX)
            ret = found(opaque, viv_ld_be32(r.data), (char *)r.data + 4);
        else if (!last)
            ret = viv_fail(err, EPROTO, "the server's answer about metadata contexts makes no sense");
        g_free(r.data);
        if (last)
            break;
    }
    return ret;
}

struct wanted_context {
    const char *name;
    struct viv_nbd_info *info;
};

static int found_wanted(void *opaque, uint32_t id, const char *context)
{
    struct wanted_context *w = opaque;

    if (strcmp(context, w->name) == 0) {
        w->info->has_context = true;
        w->info->context = id;
    }
    return 0;
}

static int set_context(struct viv_nbd_chan *c, const struct viv_nbd_target *t, struct viv_nbd_info *i, struct viv_err *err)
{
    struct wanted_context w = {t->context ? t->context : "base:allocation", i};
    int ret = i->structured ? contexts(c, VIV_NBD_OPT_SET_META_CONTEXT, t->export_name, w.name, found_wanted, &w, err) : 1;

    if (ret < 0)
        return ret;
    if (ret)
        i->has_context = false;
    if (t->context && !i->has_context)
        return viv_fail(err, ENOENT, "the server's export '%s' has no metadata context '%s' (x-dirty-bitmap)",
                        t->export_name, t->context);
    return 0;
}

int viv_nbd_greet(struct viv_nbd_chan *c, const struct viv_nbd_target *t, bool *structured, struct viv_err *err)
{
    bool fixed, no_zeroes, old;
    struct reply r;
    int ret = hello(c, &fixed, &no_zeroes, &old, err);

    *structured = false;
    if (!ret && (old || !fixed))
        ret = viv_fail(err, ENOTSUP, "the server is too old to be asked what it exports");
    if (!ret && t->creds)
        ret = start_tls(c, t, err);
    if (ret)
        return ret;
    ret = simple_option(c, VIV_NBD_OPT_STRUCTURED_REPLY, &r, err);
    if (ret == 1) {
        ret = r.type == VIV_NBD_REP_ERR_TLS_REQD ? refused(&r, NULL, err) : 0;
        g_free(r.data);
        return ret;
    }
    *structured = !ret;
    return ret;
}

static int fixed_handshake(struct viv_nbd_chan *c, const struct viv_nbd_target *t, struct viv_nbd_info *i, bool zeroes,
                           struct viv_err *err)
{
    struct reply r;
    int ret = t->creds ? start_tls(c, t, err) : 0;

    if (!ret)
        ret = simple_option(c, VIV_NBD_OPT_STRUCTURED_REPLY, &r, err);
    if (ret < 0)
        return ret;
    i->structured = ret == 0;
    if (ret) {
        ret = r.type == VIV_NBD_REP_ERR_TLS_REQD ? refused(&r, NULL, err) : 0;
        g_free(r.data);
        if (ret)
            return ret;
    }
    ret = set_context(c, t, i, err);
    if (!ret)
        ret = ask_or_go(c, VIV_NBD_OPT_GO, t->export_name, i, err);
    if (ret != 1)
        return ret;
    ret = send_option(c, VIV_NBD_OPT_EXPORT_NAME, t->export_name, strlen(t->export_name), err);
    return ret ? ret : read_export(c, i, 2, zeroes, err);
}

void viv_nbd_abort(struct viv_nbd_chan *c)
{
    struct reply r;

    viv_nbd_chan_set_deadline(c, viv_clock_ns(VIV_CLOCK_HOST) + VIV_NS_PER_SEC);
    if (!send_option(c, VIV_NBD_OPT_ABORT, NULL, 0, NULL) && !recv_reply(c, VIV_NBD_OPT_ABORT, &r, NULL))
        g_free(r.data);
}

int viv_nbd_handshake(struct viv_nbd_chan *c, const struct viv_nbd_target *t, struct viv_nbd_info *out,
                      struct viv_err *err)
{
    bool fixed = false, no_zeroes = false, old = false;
    int ret;

    *out = (struct viv_nbd_info){0};
    ret = hello(c, &fixed, &no_zeroes, &old, err);
    if (!ret && fixed)
        ret = fixed_handshake(c, t, out, !no_zeroes, err);
    else if (!ret && t->creds)
        ret = viv_fail(err, ENOTSUP, "the server is too old for TLS, which is asked for");
    else if (!ret && t->context)
        ret = viv_fail(err, ENOTSUP, "the server is too old for metadata contexts (x-dirty-bitmap)");
    else if (!ret && old && *t->export_name)
        ret = viv_fail(err, ENOENT, "the server is too old to have a named export '%s'", t->export_name);
    else if (!ret && old)
        ret = read_export(c, out, 4, true, err);
    else if (!ret) {
        ret = send_option(c, VIV_NBD_OPT_EXPORT_NAME, t->export_name, strlen(t->export_name), err);
        if (!ret)
            ret = read_export(c, out, 2, !no_zeroes, err);
    }
    if (ret)
        viv_nbd_info_fini(out);
    if (ret && fixed && ret != -EPROTO) /* refused, not broken: "MUST use soft disconnect" */
        viv_nbd_abort(c);
    return ret;
}

int viv_nbd_ask(struct viv_nbd_chan *c, const char *export_name, struct viv_nbd_info *out, struct viv_err *err)
{
    int ret;

    *out = (struct viv_nbd_info){0};
    ret = ask_or_go(c, VIV_NBD_OPT_INFO, export_name, out, err);
    if (ret == 1)
        ret = viv_fail(err, ENOTSUP, "the server is too old to tell more");
    if (ret)
        viv_nbd_info_fini(out);
    return ret;
}

int viv_nbd_list(struct viv_nbd_chan *c, char ***names, struct viv_err *err)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
    int ret = send_option(c, VIV_NBD_OPT_LIST, NULL, 0, err);
    bool last = false;

    while (!ret && !last) {
        struct reply r;
        uint32_t len;

        ret = recv_reply(c, VIV_NBD_OPT_LIST, &r, err);
        if (ret)
            break;
        last = r.type == VIV_NBD_REP_ACK;
        len = r.len >= 4 ? viv_ld_be32(r.data) : 0;
        if (r.type & VIV_NBD_REP_ERROR)
            ret = refused(&r, NULL, err);
        else if (r.type == VIV_NBD_REP_SERVER && r.len >= 4 && len <= r.len - 4 && list->len < LIST_MAX)
            g_ptr_array_add(list, g_strndup((char *)r.data + 4, len));
        else if (!last)
            ret = viv_fail(err, EPROTO, "the server's list of exports makes no sense (or is longer than %u)", LIST_MAX);
        g_free(r.data);
    }
    if (ret) {
        g_ptr_array_unref(list);
        return ret;
    }
    g_ptr_array_add(list, NULL);
    *names = (char **)g_ptr_array_free(list, FALSE);
    return 0;
}

static int found_any(void *opaque, uint32_t id, const char *context)
{
    g_ptr_array_add(opaque, viv_nbd_clean_text(context, strlen(context)));
    return 0;
}

int viv_nbd_list_contexts(struct viv_nbd_chan *c, const char *export_name, char ***names, struct viv_err *err)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
    int ret = contexts(c, VIV_NBD_OPT_LIST_META_CONTEXT, export_name, NULL, found_any, list, err);

    if (ret < 0) {
        g_ptr_array_unref(list);
        return ret;
    }
    g_ptr_array_add(list, NULL); /* refused: none */
    *names = (char **)g_ptr_array_free(list, FALSE);
    return 0;
}

