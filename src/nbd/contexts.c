/* LIST_META_CONTEXT and SET_META_CONTEXT: base:allocation, qemu:allocation-depth, qemu:dirty-bitmap:NAME. */
#include "nbd/server_int.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define DIRTY_PREFIX "qemu:dirty-bitmap:"

static unsigned context_count(const struct viv_nbd_export *e)
{
    return VIV_NBD_CONTEXT_BITMAP + e->bitmaps;
}

/* NULL: this export does not offer it. */
static const char *context_name(const struct viv_nbd_export *e, unsigned i)
{
    if (i == VIV_NBD_CONTEXT_ALLOCATION)
        return "base:allocation";
    if (i == VIV_NBD_CONTEXT_DEPTH)
        return e->depth ? "qemu:allocation-depth" : NULL;
    return e->bitmap[i - VIV_NBD_CONTEXT_BITMAP].context;
}

static bool same(const uint8_t *query, uint32_t len, const char *text)
{
    return len == strlen(text) && memcmp(query, text, len) == 0;
}

/* Contexts that a query selects; `list`: with the namespaces' wildcards. */
static uint32_t match(const struct viv_nbd_export *e, const uint8_t *query, uint32_t len, bool list)
{
    uint32_t found = 0;

    for (unsigned i = 0; i < context_count(e); i++) {
        const char *name = context_name(e, i);
        bool base = i == VIV_NBD_CONTEXT_ALLOCATION;

        if (!name)
            continue;
        if (same(query, len, name) || (list && same(query, len, base ? "base:" : "qemu:")) ||
            (list && i >= VIV_NBD_CONTEXT_BITMAP && same(query, len, DIRTY_PREFIX)))
            found |= 1u << i;
    }
    return found;
}

/* All queries of the option; -EINVAL when they do not fill it exactly. */
static int match_all(const struct viv_nbd_export *e, const uint8_t *p, uint32_t left, uint32_t queries, bool list,
                     uint32_t *found)
{
    *found = list && !queries ? UINT32_MAX : 0;
    while (queries--) {
        uint32_t len = left >= 4 ? viv_ld_be32(p) : 0;

        if (left < 4 || len > left - 4)
            return -EINVAL;
        *found |= match(e, p + 4, len, list);
        p += 4 + len;
        left -= 4 + len;
    }
    return left ? -EINVAL : 0;
}

static int send_context(struct viv_nbd_client *c, uint32_t option, uint32_t id, const char *name)
{
    uint8_t b[4 + VIV_NBD_MAX_STRING + sizeof(DIRTY_PREFIX)];
    size_t len = strnlen(name, sizeof(b) - 4);

    viv_st_be32(b, option == VIV_NBD_OPT_SET_META_CONTEXT ? id : 0);
    memcpy(b + 4, name, len);
    return viv_nbd_option_reply(c, option, VIV_NBD_REP_META_CONTEXT, b, 4 + len);
}

/* The contexts that the queries select, as reply code; set: they are the client's. */
static uint32_t answer(struct viv_nbd_client *c, uint32_t option, const struct viv_nbd_export *e, const uint8_t *p,
                       uint32_t left, uint32_t queries)
{
    bool set = option == VIV_NBD_OPT_SET_META_CONTEXT;
    uint32_t found;

    if (match_all(e, p, left, queries, !set, &found))
        return VIV_NBD_REP_ERR_INVALID;
    for (unsigned i = 0; i < context_count(e); i++) {
        const char *name = context_name(e, i);

        if (!name)
            found &= ~(1u << i);
        else if ((found & 1u << i) && send_context(c, option, i, name))
            return VIV_NBD_REP_ERR_INVALID; /* the channel is broken anyway */
    }
    if (set)
        c->contexts = found;
    return VIV_NBD_REP_ACK;
}

uint32_t viv_nbd_context_option(struct viv_nbd_client *c, uint32_t option, const uint8_t *data, uint32_t len)
{
    bool set = option == VIV_NBD_OPT_SET_META_CONTEXT;
    uint32_t name_len = len >= 8 ? viv_ld_be32(data) : 0, rep;
    struct viv_nbd_export *e;

    if (set) { /* "replaces all previously-set metadata contexts (including when this command fails)" */
        c->contexts = 0;
        viv_nbd_export_put(&c->context_export);
    }
    if (!c->structured || len < 8 || name_len > len - 8)
        return VIV_NBD_REP_ERR_INVALID;
    e = viv_nbd_find_export(c->server, data + 4, name_len);
    if (!e)
        return VIV_NBD_REP_ERR_UNKNOWN;
    rep = answer(c, option, e, data + 8 + name_len, len - 8 - name_len, viv_ld_be32(data + 4 + name_len));
    if (rep == VIV_NBD_REP_ACK && set)
        c->context_export = g_steal_pointer(&e);
    viv_nbd_export_put(&e);
    return rep;
}
