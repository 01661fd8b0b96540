/* Where the tables are: a property list or a classic resource fork. */
#include "block/fmt/dmg/dmg_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define KEY_MAX   64u
#define DEPTH_MAX 32u

/* --- XML: dict "resource-fork" > dict "blkx" > array > dicts with "Data" in base64 --- */

struct plist {
    struct dmg *d;
    struct viv_err *err;
    int ret;
    char key[DEPTH_MAX][KEY_MAX]; /* the last key of each open element */
    unsigned depth;
    char *data; /* of the element that is open; NULL: not one of ours */
    size_t data_len, data_room;
};

static void fail_xml(GError **e, const char *what)
{
    g_set_error_literal(e, G_MARKUP_ERROR, G_MARKUP_ERROR_INVALID_CONTENT, what);
}

/* Are we in an element <data> of key "Data" of an item of "blkx"? plist > dict > dict > array > dict > data. */
static bool is_table(const struct plist *p, const char *element)
{
    return p->depth == 5 && strcmp(element, "data") == 0 && strcmp(p->key[1], "resource-fork") == 0 &&
           strcmp(p->key[2], "blkx") == 0 && strcmp(p->key[4], "Data") == 0;
}

static void start_element(GMarkupParseContext *c, const char *element, const char **names, const char **values, void *opaque,
                          GError **e)
{
    struct plist *p = opaque;

    if (p->depth == DEPTH_MAX) {
        fail_xml(e, "it is nested too deep");
        return;
    }
    if (is_table(p, element))
        p->data = g_string_free(g_string_new(NULL), FALSE);
    p->key[p->depth++][0] = 0;
}

static void text(GMarkupParseContext *c, const char *s, gsize len, void *opaque, GError **e)
{
    struct plist *p = opaque;

    if (p->data) {
        p->data = g_realloc(p->data, p->data_len + len + 1);
        memcpy(p->data + p->data_len, s, len);
        p->data_len += len;
    } else if (p->depth > 1 && strcmp(g_markup_parse_context_get_element(c), "key") == 0) {
        /* Of the element around; what is longer is no key that we know. */
        g_strlcpy(p->key[p->depth - 2], len < KEY_MAX ? s : "", KEY_MAX);
    }
}

static void end_element(GMarkupParseContext *c, const char *element, void *opaque, GError **e)
{
    struct plist *p = opaque;
    gsize len = 0;

    p->depth--;
    if (!p->data)
        return;
    p->data[p->data_len] = 0;
    if (strlen(p->data) > 1) /* what GLib asks for */
        g_base64_decode_inplace(p->data, &len);
    p->ret = dmg_add_table(p->d, (uint8_t *)p->data, len, p->err);
    g_clear_pointer(&p->data, g_free);
    p->data_len = 0;
    if (p->ret)
        fail_xml(e, "a table");
}

int dmg_read_xml(struct dmg *d, char *xml, size_t len, struct viv_err *err)
{
    static const GMarkupParser parser = {.start_element = start_element, .end_element = end_element, .text = text};
    struct plist p = {.d = d, .err = err};
    GMarkupParseContext *c = g_markup_parse_context_new(&parser, 0, &p, NULL);
    GError *e = NULL;
    bool fine;

    while (len && !xml[len - 1]) /* some are padded */
        len--;
    fine = g_markup_parse_context_parse(c, xml, len, &e) && g_markup_parse_context_end_parse(c, &e);
    if (!fine && !p.ret)
        p.ret = viv_fail(err, EINVAL, "'%s': invalid dmg image: its property list: %s", d->node->filename, e->message);
    g_clear_error(&e);
    g_markup_parse_context_free(c);
    g_free(p.data);
    return p.ret;
}

/* --- resource fork: where its data begin, how long; each resource with its length before it --- */

int dmg_read_rsrc(struct dmg *d, const uint8_t *fork, size_t len, struct viv_err *err)
{
    uint64_t at, end;
    int ret = 0;

    if (len < 16)
        return viv_fail(err, EINVAL, "'%s': invalid dmg image: its resource fork has %zu bytes", d->node->filename, len);
    at = viv_ld_be32(fork);
    end = at + viv_ld_be32(fork + 8);
    if (end > len)
        return viv_fail(err, EINVAL, "'%s': invalid dmg image: the resources pass the end of their fork", d->node->filename);
    while (!ret && at + 4 <= end) {
        uint64_t bytes = viv_ld_be32(fork + at);

        at += 4;
        if (bytes > end - at)
            return viv_fail(err, EINVAL, "'%s': invalid dmg image: a resource passes the end of its fork", d->node->filename);
        ret = dmg_add_table(d, fork + at, bytes, err);
        at += bytes;
    }
    return ret;
}
