/* check: each sparse extent's tables and grains lie in its file, apart; the copy of a table says what the table says.
 *
 * Leaks are grains that nothing names, and copies that differ: a power cut may leave both, neither loses anything. A repair
 * brings a lost table back from its copy, clears entries that point nowhere, writes copies again, and cuts leaked grains off the
 * end of the file. Two entries for one grain cannot be mended: nobody knows whose data it is. */
#include "block/fmt/vmdk/vmdk_int.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct checker {
    struct vmdk *v;
    const struct vmdk_extent *e;
    struct vmdk_sparse *s;
    struct viv_check *c;
    bool fix_errors, fix_leaks;
    GArray *grains; /* uint32_t: sectors */
    uint64_t room;  /* more grains than that cannot be in the file */
};

static void __attribute__((format(printf, 2, 3))) say(struct checker *k, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    size_t used = 0;

    if (!k->c->report)
        return;
    if (k->v->extents->len > 1)
        used = MIN(sizeof(text) / 2, (size_t)snprintf(text, sizeof(text) / 2, "%s: ", k->s->file->filename));
    va_start(ap, fmt);
    vsnprintf(text + used, sizeof(text) - used, fmt, ap);
    va_end(ap);
    k->c->report(k->c->opaque, text);
}

/* One more thing that is wrong; mended when `fixed`. */
static void wrong(struct checker *k, bool fixed)
{
    k->c->corruptions++;
    k->c->corruptions_fixed += fixed;
}

static const char *verb(bool fix)
{
    return fix ? "Repairing" : "ERROR";
}

/* --- directories --- */

static int read_table(struct checker *k, uint32_t sector, uint8_t *out)
{
    return viv_node_pread(k->s->file, sector * (uint64_t)VMDK_SECTOR, out, vmdk_table_bytes(k->s));
}

/* A table that the directory has lost, from what the copy's directory names. */
static int restore(struct checker *k, uint32_t table, bool from_copy)
{
    struct vmdk_sparse *s = k->s;
    g_autofree uint8_t *old = g_try_malloc0(vmdk_table_bytes(s));
    struct vmdk_page *p;
    int ret = old ? 0 : -ENOMEM;

    if (!ret && from_copy)
        ret = read_table(k, s->copy[table], old);
    if (!ret)
        ret = vmdk_new_table(s, table);
    if (!ret)
        ret = vmdk_page_get(s, table, &p);
    for (uint32_t i = 0; !ret && i < s->gtes; i++)
        vmdk_page_set(p, i, viv_ld_le32(old + i * 4ull));
    return ret;
}

/* Both places new, the entries from the table that is there. */
static int renew_copy(struct checker *k, uint32_t table)
{
    k->s->copy[table] = k->s->gd[table];
    return restore(k, table, true);
}

static int check_directory(struct checker *k)
{
    struct vmdk_sparse *s = k->s;
    int ret = 0;

    for (uint32_t i = 0; !ret && i < s->tables; i++) {
        bool copy_ok = s->copy && s->copy[i] && vmdk_table_ok(s, s->copy[i]);

        if (s->gd[i] && !vmdk_table_ok(s, s->gd[i])) {
            say(k, "%s grain table %u lies at invalid sector %u%s", verb(k->fix_errors), i, s->gd[i],
                copy_ok ? "; its copy is there" : "");
            wrong(k, k->fix_errors);
            if (k->fix_errors)
                ret = restore(k, i, copy_ok);
        } else if (s->gd[i] && s->copy && s->copy[i] && !copy_ok) {
            say(k, "%s the copy of grain table %u lies at invalid sector %u", verb(k->fix_errors), i, s->copy[i]);
            wrong(k, k->fix_errors);
            if (k->fix_errors)
                ret = renew_copy(k, i);
        }
    }
    return ret;
}

static void add_span(GArray *spans, uint64_t at, uint64_t bytes)
{
    struct vmdk_span s = {at / VMDK_SECTOR, (at + bytes + VMDK_SECTOR - 1) / VMDK_SECTOR};

    if (bytes)
        g_array_append_val(spans, s);
}

static int by_first(gconstpointer a, gconstpointer b)
{
    const struct vmdk_span *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

/* Where metadata lies, ascending; overlaps are told and joined. */
static GArray *find_metadata(struct checker *k)
{
    GArray *spans = g_array_new(FALSE, FALSE, sizeof(struct vmdk_span));
    struct vmdk_sparse *s = k->s;
    struct vmdk_span *v;
    guint used = 0;

    add_span(spans, 0, s->cowd ? 4 * VMDK_SECTOR : VMDK_H_LEN);
    add_span(spans, s->desc_at, s->desc_bytes);
    add_span(spans, s->gd_at, s->tables * 4ull);
    add_span(spans, s->copy_at, s->copy ? s->tables * 4ull : 0);
    for (uint32_t i = 0; i < s->tables; i++) {
        if (s->gd[i] && vmdk_table_ok(s, s->gd[i]))
            add_span(spans, s->gd[i] * (uint64_t)VMDK_SECTOR, vmdk_table_bytes(s));
        if (s->copy && s->copy[i] && vmdk_table_ok(s, s->copy[i]))
            add_span(spans, s->copy[i] * (uint64_t)VMDK_SECTOR, vmdk_table_bytes(s));
    }
    g_array_sort(spans, by_first);
    v = (struct vmdk_span *)(void *)spans->data;
    for (guint i = 1; i < spans->len; i++) {
        if (v[i].first < v[used].end) {
            say(k, "ERROR two parts of the metadata lie at sector %" PRIu64, v[i].first);
            wrong(k, false);
        }
        if (v[i].first <= v[used].end)
            v[used].end = MAX(v[used].end, v[i].end);
        else
            v[++used] = v[i];
    }
    g_array_set_size(spans, used + 1);
    return spans;
}

/* --- tables --- */

static void clear(struct checker *k, struct vmdk_page *p, uint32_t i, const char *why, uint64_t guest)
{
    say(k, "%s the grain at offset 0x%" PRIx64 " lies at sector %u: %s", verb(k->fix_errors), k->e->start + guest,
        vmdk_page_entry(p, i), why);
    wrong(k, k->fix_errors);
    if (k->fix_errors)
        vmdk_page_set(p, i, 0);
}

/* What is stored in front of a compressed grain tells which it is. One that cannot be read tells nothing: the grain stays. */
static bool marker_ok(struct checker *k, uint32_t sector, uint64_t guest)
{
    const struct vmdk_sparse *s = k->s;
    uint8_t m[VMDK_M_GRAIN];

    if (!s->compressed || !s->markers)
        return true;
    if (viv_node_pread(s->file, sector * (uint64_t)VMDK_SECTOR, m, sizeof(m))) {
        say(k, "ERROR the grain at offset 0x%" PRIx64 " could not be read", k->e->start + guest);
        k->c->check_errors++;
        return true;
    }
    return viv_ld_le32(m + VMDK_M_SIZE) && viv_ld_le64(m + VMDK_M_VALUE) == guest / VMDK_SECTOR;
}

static void check_entry(struct checker *k, struct vmdk_page *p, uint32_t i, uint64_t guest)
{
    struct vmdk_sparse *s = k->s;
    uint32_t sector = vmdk_page_entry(p, i);
    uint64_t file = viv_node_size(s->file);

    if (!sector || (sector == VMDK_ZEROED && s->zeroed))
        return;
    if (sector * (uint64_t)VMDK_SECTOR >= file) {
        clear(k, p, i, "that is behind the end of the file", guest);
    } else if (!vmdk_grain_ok(s, sector)) {
        clear(k, p, i, "there is metadata", guest);
    } else if (!marker_ok(k, sector, guest)) {
        clear(k, p, i, "what is there is another one's, or none", guest);
    } else if (k->grains->len < k->room) {
        g_array_append_val(k->grains, sector);
    } else {
        say(k, "ERROR the grain at offset 0x%" PRIx64 " is one more than the file can hold", k->e->start + guest);
        wrong(k, false);
    }
}

/* Does the copy say the same? It is written again where that is wanted. */
static int check_copy(struct checker *k, struct vmdk_page *p, uint32_t table, uint8_t *buf)
{
    struct vmdk_sparse *s = k->s;
    int ret;

    if (!s->copy || !s->copy[table] || !vmdk_table_ok(s, s->copy[table]) || p->dirty_from != p->dirty_to)
        return 0;
    ret = read_table(k, s->copy[table], buf);
    if (ret || memcmp(buf, p->data, vmdk_table_bytes(s)) == 0)
        return ret;
    say(k, "%s the copy of grain table %u is older than the table", k->fix_leaks ? "Repairing" : "Leak:", table);
    k->c->leaks++;
    if (!k->fix_leaks)
        return 0;
    k->c->leaks_fixed++;
    vmdk_page_set(p, 0, vmdk_page_entry(p, 0));
    vmdk_page_set(p, s->gtes - 1, vmdk_page_entry(p, s->gtes - 1));
    return 0;
}

static int check_table(struct checker *k, uint32_t table, uint8_t *buf)
{
    struct vmdk_sparse *s = k->s;
    struct vmdk_page *p;
    int ret = k->fix_errors || k->fix_leaks ? vmdk_make_room(k->v) : 0;

    if (!ret)
        ret = vmdk_page_get(s, table, &p);
    if (ret == -EIO) {
        say(k, "ERROR grain table %u could not be read", table);
        k->c->check_errors++;
        return 0;
    }
    for (uint32_t i = 0; !ret && i < s->gtes; i++) {
        uint64_t guest = ((uint64_t)table * s->gtes + i) * s->grain;

        if (guest < k->e->len)
            check_entry(k, p, i, guest);
    }
    return ret ? ret : check_copy(k, p, table, buf);
}

/* --- grains --- */

static int by_sector(gconstpointer a, gconstpointer b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* Grains that follow each other; what is free between them and metadata has leaked, but for less than one. */
static void check_grains(struct checker *k, const GArray *meta)
{
    uint64_t per = k->s->compressed ? 1 : k->s->grain / VMDK_SECTOR, at = 0;
    guint m = 0;

    g_array_sort(k->grains, by_sector);
    for (guint i = 0; i < k->grains->len; i++) {
        uint64_t sector = g_array_index(k->grains, uint32_t, i), last;

        last = i ? g_array_index(k->grains, uint32_t, i - 1) + per : 0;
        if (sector < last) {
            say(k, "ERROR two grains of the disk lie at sector %" PRIu64, sector);
            wrong(k, false);
        }
        for (; m < meta->len && g_array_index(meta, struct vmdk_span, m).first < sector; m++)
            at = MAX(at, g_array_index(meta, struct vmdk_span, m).end);
        if (sector > at && !k->s->compressed && !k->s->cowd)
            k->c->leaks += (sector - at) / per;
        at = MAX(at, sector + per);
    }
}

/* Behind the last thing that is used. What is broken, or could not be read, may be what leaked: nothing is thrown away then. */
static int cut_tail(struct checker *k, const GArray *meta, bool broken)
{
    struct vmdk_sparse *s = k->s;
    uint64_t per = s->grain / VMDK_SECTOR, file = viv_node_size(s->file) / VMDK_SECTOR, end, grains;

    if (s->compressed || s->cowd)
        return 0;
    end = g_array_index(meta, struct vmdk_span, meta->len - 1).end;
    if (k->grains->len)
        end = MAX(end, g_array_index(k->grains, uint32_t, k->grains->len - 1) + per);
    end = viv_align_down(end + per - 1, per);
    grains = file > end ? (file - end) / per : 0;
    if (!grains)
        return 0;
    k->c->leaks += grains;
    if (!k->fix_leaks || broken)
        return 0;
    k->c->leaks_fixed += grains;
    s->next = end * VMDK_SECTOR;
    return viv_node_truncate(s->file, end * VMDK_SECTOR, VIV_PREALLOC_OFF, NULL);
}

static int check_extent(struct checker *k)
{
    struct vmdk_sparse *s = k->s;
    uint64_t leaks = k->c->leaks, fixed = k->c->leaks_fixed, broken = k->c->corruptions - k->c->corruptions_fixed;
    g_autofree uint8_t *buf = g_try_malloc(vmdk_table_bytes(s));
    GArray *meta, *before = s->meta;
    int ret = buf ? check_directory(k) : -ENOMEM;

    meta = find_metadata(k);
    s->meta = meta;
    k->grains = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    k->room = viv_node_size(s->file) / (s->compressed ? VMDK_SECTOR : s->grain) + 1;
    for (uint32_t i = 0; !ret && i < s->tables; i++)
        if (s->gd[i] && vmdk_table_ok(s, s->gd[i]))
            ret = check_table(k, i, buf);
    s->meta = before;
    if (!ret)
        check_grains(k, meta);
    if (!ret)
        ret = cut_tail(k, meta, k->c->check_errors || k->c->corruptions - k->c->corruptions_fixed != broken);
    if (k->c->leaks > leaks && !ret)
        say(k, "%s %" PRIu64 " grains or copies of tables", k->c->leaks_fixed > fixed ? "Repairing leaked:" : "Leaked",
            k->c->leaks - leaks);
    g_array_free(k->grains, TRUE);
    g_array_free(meta, TRUE);
    return ret;
}

static int start_repair(struct vmdk *v, struct viv_err *err)
{
    int ret;

    for (guint i = 0; i < v->extents->len; i++) {
        const struct vmdk_extent *e = &g_array_index(v->extents, struct vmdk_extent, i);

        if (e->sparse && (e->read_only || !vmdk_can_write(e->sparse)))
            return viv_fail(err, ENOTSUP,
                            "'%s': such images cannot be repaired in place; 'viv-img convert' to a new image saves what can "
                            "be read",
                            v->node->filename);
    }
    ret = vmdk_start_writing(v);
    return ret ? viv_fail_os(err, -ret, "Could not write '%s'", v->node->filename) : 0;
}

int vmdk_check(struct viv_node *n, struct viv_check *c, struct viv_err *err)
{
    struct vmdk *v = n->state;
    struct checker k = {
        .v = v, .c = c, .fix_errors = c->fix & VIV_FIX_ERRORS, .fix_leaks = c->fix & (VIV_FIX_LEAKS | VIV_FIX_ERRORS)};
    int ret;

    pthread_mutex_lock(&v->lock);
    ret = c->fix ? start_repair(v, err) : 0;
    for (guint i = 0; !ret && i < v->extents->len; i++) {
        k.e = &g_array_index(v->extents, struct vmdk_extent, i);
        k.s = k.e->sparse;
        if (!k.s)
            continue;
        ret = check_extent(&k);
        if (ret)
            viv_fail_os(err, -ret, "Could not check '%s'", k.s->file->filename);
    }
    if (!ret && c->fix) {
        ret = vmdk_flush_locked(v);
        if (ret)
            viv_fail_os(err, -ret, "Could not write '%s'", n->filename);
    }
    pthread_mutex_unlock(&v->lock);
    return ret;
}
