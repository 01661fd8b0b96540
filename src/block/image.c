/* Small things that drivers and image tools share. */
#include "block/image.h"

#include <errno.h>
#include <glib.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int viv_prealloc_parse(const char *text, enum viv_prealloc *out)
{
    static const char *const words[] = {
        [VIV_PREALLOC_OFF] = "off", [VIV_PREALLOC_METADATA] = "metadata",
        [VIV_PREALLOC_FALLOC] = "falloc", [VIV_PREALLOC_FULL] = "full",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    return -EINVAL;
}

bool viv_create_knows(const struct viv_blk_driver *drv, const char *option)
{
    for (const struct viv_opt_def *d = drv->create_opts; d && d->name; d++)
        if (strcmp(d->name, option) == 0)
            return true;
    return false;
}

static struct viv_img_fact *add(struct viv_img_info *i, const char *key)
{
    struct viv_img_fact *f;

    if (i->facts == i->fact_room) {
        i->fact_room = 2 * i->fact_room + 16;
        i->fact = g_renew(struct viv_img_fact, i->fact, i->fact_room);
    }
    f = &i->fact[i->facts++];
    *f = (struct viv_img_fact){.key = key};
    return f;
}

void viv_img_fact_str(struct viv_img_info *i, const char *key, const char *value)
{
    struct viv_img_fact *f = add(i, key);

    f->type = VIV_FACT_STR;
    f->str = g_strdup(value);
}

void viv_img_fact_uint(struct viv_img_info *i, const char *key, uint64_t value)
{
    struct viv_img_fact *f = add(i, key);

    f->type = VIV_FACT_UINT;
    f->value = value;
}

void viv_img_fact_bool(struct viv_img_info *i, const char *key, bool value)
{
    struct viv_img_fact *f = add(i, key);

    f->type = VIV_FACT_BOOL;
    f->value = value;
}

void viv_img_fact_open(struct viv_img_info *i, const char *key, bool list)
{
    add(i, key)->type = list ? VIV_FACT_LIST : VIV_FACT_DICT;
}

void viv_img_fact_close(struct viv_img_info *i)
{
    add(i, NULL)->type = VIV_FACT_END;
}

void viv_img_info_free(struct viv_img_info *i)
{
    for (unsigned n = 0; n < i->facts; n++)
        g_free(i->fact[n].str);
    g_free(i->fact);
    g_free(i->backing_file);
    g_free(i->backing_fmt);
    *i = (struct viv_img_info){0};
}

int viv_img_count_data(struct viv_node *n, uint64_t unit, uint64_t *out)
{
    uint64_t size = viv_node_size(n), counted = 0; /* units below it have been looked at */

    *out = 0;
    for (uint64_t at = 0, len; at < size; at += len) {
        struct viv_extent e;
        uint64_t first, end;
        int ret = viv_node_status(n, at, size - at, &e);

        if (ret)
            return ret;
        len = e.len;
        if (e.kind == VIV_MAP_ZERO && !e.hole) /* who copies may look no closer */
            continue;
        first = MAX(at / unit, counted);
        end = (at + len - 1) / unit + 1;
        if (end > first)
            *out += end - first;
        counted = MAX(counted, end);
    }
    return 0;
}

void viv_snapshot_free(struct viv_snapshot *s, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        g_free(s[i].id);
        g_free(s[i].name);
    }
    g_free(s);
}

void viv_bitmap_info_free(struct viv_bitmap_info *b, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        g_free(b[i].name);
    g_free(b);
}

static void say(const struct viv_check *c, const char *fmt, va_list ap)
{
    char text[256];

    if (!c->report)
        return;
    vsnprintf(text, sizeof(text), fmt, ap);
    c->report(c->opaque, text);
}

void viv_check_say(const struct viv_check *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say(c, fmt, ap);
    va_end(ap);
}

void viv_check_error(struct viv_check *c, const char *fmt, ...)
{
    va_list ap;

    c->corruptions++;
    va_start(ap, fmt);
    say(c, fmt, ap);
    va_end(ap);
}
