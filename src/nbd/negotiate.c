/* "Handshake" of proto.md, the server's side: fixed newstyle; everything under the channel's deadline. */
#include "nbd/server_int.h"

#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define OPTIONS_MAX 128u
#define DATA_MAX    65536u     /* of an option that we look at */
#define SKIP_MAX    (1u << 20) /* of one that is only refused */
#define BLOCK_PREF  4096u

enum { NEXT = 1 }; /* go on haggling */

int viv_nbd_option_reply(struct viv_nbd_client *c, uint32_t option, uint32_t type, const void *data, uint32_t len)
{
    uint8_t head[20];
    struct iovec v[2] = {{head, sizeof(head)}, {(void *)data, len}};

    viv_st_be64(head, VIV_NBD_REP_MAGIC);
    viv_st_be32(head + 8, option);
    viv_st_be32(head + 12, type);
    viv_st_be32(head + 16, len);
    return viv_nbd_chan_writev(c->chan, v, len ? 2 : 1);
}

/* With a sentence for whoever reads the client's log. */
static int refuse(struct viv_nbd_client *c, uint32_t option, uint32_t type, const char *text)
{
    int ret = viv_nbd_option_reply(c, option, type, text, strlen(text));

    return ret ? ret : NEXT;
}

static int accept_option(struct viv_nbd_client *c, uint32_t option)
{
    int ret = viv_nbd_option_reply(c, option, VIV_NBD_REP_ACK, NULL, 0);

    return ret ? ret : NEXT;
}

static int list_one(struct viv_nbd_client *c, const struct viv_nbd_export *e)
{
    size_t name = strlen(e->name), text = e->description ? strlen(e->description) : 0;
    g_autofree uint8_t *b = g_malloc(4 + name + text);

    viv_st_be32(b, name);
    memcpy(b + 4, e->name, name);
    if (text)
        memcpy(b + 4 + name, e->description, text);
    return viv_nbd_option_reply(c, VIV_NBD_OPT_LIST, VIV_NBD_REP_SERVER, b, 4 + name + text);
}

static int do_list(struct viv_nbd_client *c)
{
    unsigned count;
    g_autofree struct viv_nbd_export **all = viv_nbd_all_exports(c->server, &count);
    int ret = 0;

    for (unsigned i = 0; i < count; i++) {
        if (!ret)
            ret = list_one(c, all[i]);
        viv_nbd_export_put(&all[i]);
    }
    return ret ? ret : accept_option(c, VIV_NBD_OPT_LIST);
}

static int do_starttls(struct viv_nbd_client *c)
{
    struct viv_err err = VIV_ERR_INIT;
    int ret;

    if (viv_nbd_chan_has_tls(c->chan))
        return refuse(c, VIV_NBD_OPT_STARTTLS, VIV_NBD_REP_ERR_INVALID, "TLS is on already");
    if (!c->server->opts.creds)
        return refuse(c, VIV_NBD_OPT_STARTTLS, VIV_NBD_REP_ERR_POLICY, "this server does not do TLS");
    ret = viv_nbd_option_reply(c, VIV_NBD_OPT_STARTTLS, VIV_NBD_REP_ACK, NULL, 0);
    if (!ret)
        ret = viv_nbd_chan_start_tls(c->chan, c->server->opts.creds, NULL, &err);
    if (!ret)
        ret = viv_nbd_chan_check_peer(c->chan, c->server->opts.authz, &err);
    if (ret) {
        if (err.code)
            viv_guest_error("nbd", "client refused: %s", err.text);
        return ret;
    }
    c->structured = false; /* "MUST NOT preserve any negotiation state" */
    c->contexts = 0;
    viv_nbd_export_put(&c->context_export);
    return NEXT;
}

static int send_info(struct viv_nbd_client *c, uint32_t option, uint16_t type, const void *data, size_t len)
{
    uint8_t b[2 + VIV_NBD_MAX_STRING];

    viv_st_be16(b, type);
    memcpy(b + 2, data, len);
    return viv_nbd_option_reply(c, option, VIV_NBD_REP_INFO, b, 2 + len);
}

/* One information request; unknown ones are ignored. */
static int send_wanted(struct viv_nbd_client *c, uint32_t option, const struct viv_nbd_export *e, uint16_t type)
{
    uint8_t b[12];

    switch (type) {
    case VIV_NBD_INFO_NAME:
        return send_info(c, option, type, e->name, strlen(e->name));
    case VIV_NBD_INFO_DESCRIPTION:
        return e->description ? send_info(c, option, type, e->description, strlen(e->description)) : 0;
    case VIV_NBD_INFO_BLOCK_SIZE:
        viv_st_be32(b, 1);
        viv_st_be32(b + 4, BLOCK_PREF);
        viv_st_be32(b + 8, VIV_NBD_MAX_PAYLOAD);
        return send_info(c, option, type, b, 12);
    }
    return 0;
}

/* All that the option asks for, then size and flags. */
static int send_infos(struct viv_nbd_client *c, uint32_t option, const struct viv_nbd_export *e, const uint8_t *types,
                      unsigned count)
{
    unsigned seen = 0;
    uint8_t b[10];
    int ret;

    for (unsigned i = 0; i < count; i++) {
        uint16_t type = viv_ld_be16(types + 2 * i);

        if (type == VIV_NBD_INFO_EXPORT || type > VIV_NBD_INFO_BLOCK_SIZE || (seen & 1u << type))
            continue; /* once each, whatever is asked */
        seen |= 1u << type;
        ret = send_wanted(c, option, e, type);
        if (ret)
            return ret;
    }
    viv_st_be64(b, e->size);
    viv_st_be16(b + 8, viv_nbd_flags(e, c->structured));
    ret = send_info(c, option, VIV_NBD_INFO_EXPORT, b, sizeof(b));
    return ret ? ret : viv_nbd_option_reply(c, option, VIV_NBD_REP_ACK, NULL, 0);
}

/* INFO and GO. 0: transmission. */
static int do_info(struct viv_nbd_client *c, uint32_t option, const uint8_t *data, uint32_t len)
{
    uint32_t name_len = len >= 6 ? viv_ld_be32(data) : 0;
    struct viv_nbd_export *e;
    unsigned count;
    int ret;

    if (len < 6 || name_len > len - 6)
        return refuse(c, option, VIV_NBD_REP_ERR_INVALID, "the option's length is wrong");
    count = viv_ld_be16(data + 4 + name_len);
    if (len != 6 + name_len + 2 * count)
        return refuse(c, option, VIV_NBD_REP_ERR_INVALID, "the option's length is wrong");
    e = name_len <= VIV_NBD_MAX_STRING ? viv_nbd_find_export(c->server, data + 4, name_len) : NULL;
    if (!e)
        return refuse(c, option, VIV_NBD_REP_ERR_UNKNOWN, "there is no export of this name");
    ret = send_infos(c, option, e, data + 6 + name_len, count);
    if (ret || option == VIV_NBD_OPT_INFO) {
        viv_nbd_export_put(&e);
        return ret ? ret : NEXT;
    }
    return viv_nbd_choose(c, e);
}

static int do_export_name(struct viv_nbd_client *c, const uint8_t *data, uint32_t len, bool zeroes)
{
    struct viv_nbd_export *e = viv_nbd_find_export(c->server, data, len);
    uint8_t b[10 + 124] = {0};

    if (!e || viv_nbd_choose(c, e))
        return -ENOENT; /* "the server MUST terminate the session" */
    viv_st_be64(b, c->export->size);
    viv_st_be16(b + 8, viv_nbd_flags(c->export, c->structured));
    return viv_nbd_chan_write(c->chan, b, zeroes ? sizeof(b) : 10);
}

/* 0: transmission, NEXT, or an error that ends the session. */
static int do_option(struct viv_nbd_client *c, uint32_t option, const uint8_t *data, uint32_t len, bool zeroes)
{
    bool empty = option == VIV_NBD_OPT_LIST || option == VIV_NBD_OPT_STARTTLS || option == VIV_NBD_OPT_STRUCTURED_REPLY;
    uint32_t rep;
    int ret;

    if (option == VIV_NBD_OPT_ABORT) {
        viv_nbd_option_reply(c, option, VIV_NBD_REP_ACK, NULL, 0);
        return -ECONNABORTED;
    }
    if (c->server->opts.creds && !viv_nbd_chan_has_tls(c->chan) && option != VIV_NBD_OPT_STARTTLS)
        return option == VIV_NBD_OPT_EXPORT_NAME
                   ? -EACCES
                   : refuse(c, option, VIV_NBD_REP_ERR_TLS_REQD, "this server requires TLS (NBD_OPT_STARTTLS first)");
    if (empty && len)
        return refuse(c, option, VIV_NBD_REP_ERR_INVALID, "this option has no data");
    switch (option) {
    case VIV_NBD_OPT_EXPORT_NAME:
        return do_export_name(c, data, len, zeroes);
    case VIV_NBD_OPT_LIST:
        return do_list(c);
    case VIV_NBD_OPT_STARTTLS:
        return do_starttls(c);
    case VIV_NBD_OPT_INFO:
    case VIV_NBD_OPT_GO:
        return do_info(c, option, data, len);
    case VIV_NBD_OPT_STRUCTURED_REPLY:
        c->structured = true;
        return accept_option(c, option);
    case VIV_NBD_OPT_LIST_META_CONTEXT:
    case VIV_NBD_OPT_SET_META_CONTEXT:
        rep = viv_nbd_context_option(c, option, data, len);
        ret = viv_nbd_option_reply(c, option, rep, NULL, 0);
        return ret ? ret : NEXT;
    }
    return refuse(c, option, VIV_NBD_REP_ERR_UNSUP, "this option is not known here");
}

static int next_option(struct viv_nbd_client *c, uint8_t *data, bool fixed, bool zeroes)
{
    uint8_t head[16];
    uint32_t option, len;
    int ret = viv_nbd_chan_read(c->chan, head, sizeof(head));

    if (ret)
        return ret;
    option = viv_ld_be32(head + 8);
    len = viv_ld_be32(head + 12);
    if (viv_ld_be64(head) != VIV_NBD_OPTS_MAGIC || len > SKIP_MAX)
        return -EPROTO;
    if (!fixed && option != VIV_NBD_OPT_EXPORT_NAME)
        return -EPROTO; /* "the only valid option in nonfixed newstyle negotiation" */
    if (len > DATA_MAX) {
        ret = viv_nbd_chan_skip(c->chan, len);
        if (!ret && option == VIV_NBD_OPT_EXPORT_NAME)
            ret = -ENOENT;
        return ret ? ret : refuse(c, option, VIV_NBD_REP_ERR_TOO_BIG, "the option has too much data");
    }
    ret = viv_nbd_chan_read(c->chan, data, len);
    return ret ? ret : do_option(c, option, data, len, zeroes);
}

int viv_nbd_negotiate(struct viv_nbd_client *c)
{
    uint32_t known = VIV_NBD_HS_FIXED | VIV_NBD_HS_NO_ZEROES, flags;
    g_autofree uint8_t *data = g_malloc(DATA_MAX);
    uint8_t b[18];
    int ret;

    viv_st_be64(b, VIV_NBD_INIT_MAGIC);
    viv_st_be64(b + 8, VIV_NBD_OPTS_MAGIC);
    viv_st_be16(b + 16, known);
    ret = viv_nbd_chan_write(c->chan, b, 18);
    if (!ret)
        ret = viv_nbd_chan_read(c->chan, b, 4);
    if (ret)
        return ret;
    flags = viv_ld_be32(b);
    if (flags & ~known)
        return -EPROTO;
    ret = NEXT;
    for (unsigned i = 0; i < OPTIONS_MAX && ret == NEXT; i++)
        ret = next_option(c, data, flags & VIV_NBD_HS_FIXED, !(flags & VIV_NBD_HS_NO_ZEROES));
    return ret == NEXT ? -EPROTO : ret;
}
