/* The state stream.
 *
 *   section: 'S'  u16 path length, path  u32 body length  body
 *   body:    u16 table name length, name  table
 *   table:   u16 version, then each saved field of that version in table order
 *   field:   INT, BOOL: its elements, each in its own size; BYTES as they are; STRUCT: a table each; VARBYTES: u32
 *            length, bytes; TIMER: s64 ns; CUSTOM: what its functions write
 *
 * All integers are little-endian. A reader never goes past the section it is in, and a section that
 * was not read to its end is an error: both sides then disagree about the fields. */
#include "state/state.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "host/clock.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define SECTION_TAG 'S'

struct viv_state_writer {
    GByteArray *out;
    uint64_t put; /* bytes, those included that were too many for `out` */
};

struct viv_state_reader {
    const uint8_t *data;
    size_t pos;
    size_t end;       /* of the section, or of the stream */
    const char *path; /* of the section, for errors; NULL outside */
};

/* ---- writing ---- */

struct viv_state_writer *viv_state_writer_new(void)
{
    struct viv_state_writer *w = g_new0(struct viv_state_writer, 1);

    w->out = g_byte_array_new();
    return w;
}

void viv_state_writer_free(struct viv_state_writer *w)
{
    if (!w)
        return;
    g_byte_array_free(w->out, TRUE);
    g_free(w);
}

uint8_t *viv_state_writer_finish(struct viv_state_writer *w, size_t *len)
{
    uint8_t *data = g_byte_array_free(w->out, FALSE);

    *len = w->put;
    if (w->put > VIV_STATE_MOST)
        g_clear_pointer(&data, g_free);
    w->out = g_byte_array_new();
    w->put = 0;
    return data;
}

void viv_state_put(struct viv_state_writer *w, const void *data, size_t len)
{
    w->put += len;
    if (w->put <= VIV_STATE_MOST)
        g_byte_array_append(w->out, data, (guint)len);
}

static void put_int(struct viv_state_writer *w, uint64_t v, unsigned size)
{
    uint8_t b[8];

    viv_st_le64(b, v);
    viv_state_put(w, b, size);
}

void viv_state_put_u32(struct viv_state_writer *w, uint32_t v)
{
    put_int(w, v, 4);
}

void viv_state_put_u64(struct viv_state_writer *w, uint64_t v)
{
    put_int(w, v, 8);
}

static void put_text(struct viv_state_writer *w, const char *s)
{
    size_t len = strlen(s);

    g_assert(len <= UINT16_MAX);
    put_int(w, len, 2);
    viv_state_put(w, s, len);
}

static uint64_t int_at(const void *p, size_t size)
{
    switch (size) {
    case 1:
        return *(const uint8_t *)p;
    case 2:
        return *(const uint16_t *)p;
    case 4:
        return *(const uint32_t *)p;
    default:
        return *(const uint64_t *)p;
    }
}

static void save_table(struct viv_state_writer *w, const struct viv_state_table *t, void *obj);

static void save_field(struct viv_state_writer *w, const struct viv_field *f, uint8_t *obj)
{
    uint8_t *p = obj + f->offset;

    switch (f->kind) {
    case VIV_FIELD_INT:
    case VIV_FIELD_BOOL:
        for (size_t i = 0; i < f->count; i++)
            put_int(w, int_at(p + i * f->size, f->size), f->size);
        break;
    case VIV_FIELD_BYTES:
        viv_state_put(w, p, f->size);
        break;
    case VIV_FIELD_STRUCT:
        for (size_t i = 0; i < f->count; i++)
            save_table(w, f->sub, p + i * f->size);
        break;
    case VIV_FIELD_VARBYTES: {
        uint32_t len = *(const uint32_t *)(obj + f->len_offset);

        g_assert(len <= f->max_len);
        put_int(w, len, 4);
        viv_state_put(w, *(uint8_t **)p, len);
        break;
    }
    case VIV_FIELD_TIMER:
        put_int(w, viv_timer_expiry_ns(*(struct viv_timer **)p), 8);
        break;
    case VIV_FIELD_CUSTOM:
        f->save(w, obj);
        break;
    case VIV_FIELD_DERIVED:
    case VIV_FIELD_CONFIG:
        break;
    }
}

static void save_table(struct viv_state_writer *w, const struct viv_state_table *t, void *obj)
{
    if (t->pre_save)
        t->pre_save(obj);
    put_int(w, t->version, 2);
    for (const struct viv_field *f = t->fields; f->name; f++)
        save_field(w, f, obj);
}

void viv_state_save(struct viv_state_writer *w, const char *path, const struct viv_state_table *t,
                    void *obj)
{
    guint at;

    put_int(w, SECTION_TAG, 1);
    put_text(w, path);
    at = w->out->len;
    put_int(w, 0, 4);
    put_text(w, t->name);
    save_table(w, t, obj);
    if (w->put <= VIV_STATE_MOST)
        viv_st_le32(w->out->data + at, w->out->len - at - 4);
}

/* ---- reading ---- */

struct viv_state_reader *viv_state_reader_new(const uint8_t *data, size_t len)
{
    struct viv_state_reader *r = g_new0(struct viv_state_reader, 1);

    r->data = data;
    r->end = len;
    return r;
}

void viv_state_reader_free(struct viv_state_reader *r)
{
    g_free(r);
}

static const uint8_t *take(struct viv_state_reader *r, size_t len, struct viv_err *err)
{
    const uint8_t *p = r->data + r->pos;

    if (!viv_range_inside(r->pos, len, r->end)) {
        viv_fail(err, EINVAL, "saved state%s%s ends %zu bytes too early", r->path ? " of " : "",
                 r->path ? r->path : "", len - (r->end - r->pos));
        return NULL;
    }
    r->pos += len;
    return p;
}

int viv_state_get(struct viv_state_reader *r, void *data, size_t len, struct viv_err *err)
{
    const uint8_t *p = take(r, len, err);

    if (!p)
        return -EINVAL;
    memcpy(data, p, len);
    return 0;
}

static int get_int(struct viv_state_reader *r, unsigned size, uint64_t *v, struct viv_err *err)
{
    uint8_t b[8] = {0};
    int rc = viv_state_get(r, b, size, err);

    if (rc == 0)
        *v = viv_ld_le64(b);
    return rc;
}

int viv_state_get_u32(struct viv_state_reader *r, uint32_t *v, struct viv_err *err)
{
    uint64_t wide;
    int rc = get_int(r, 4, &wide, err);

    if (rc == 0)
        *v = (uint32_t)wide;
    return rc;
}

int viv_state_get_u64(struct viv_state_reader *r, uint64_t *v, struct viv_err *err)
{
    return get_int(r, 8, v, err);
}

/* A length-prefixed text that must be `want`. */
static int expect_text(struct viv_state_reader *r, const char *what, const char *want,
                       struct viv_err *err)
{
    uint64_t len;
    const uint8_t *p;
    int rc = get_int(r, 2, &len, err);

    if (rc < 0)
        return rc;
    p = take(r, len, err);
    if (!p)
        return -EINVAL;
    if (len == strlen(want) && !memcmp(p, want, len))
        return 0;
    g_autofree char *raw = g_strndup((const char *)p, MIN(len, 80));
    g_autofree char *printable = g_strescape(raw, NULL);

    return viv_fail(err, EINVAL, "saved state has %s '%s' where '%s' is needed", what, printable,
                    want);
}

static int load_ints(struct viv_state_reader *r, const struct viv_field *f, uint8_t *p,
                     struct viv_err *err)
{
    for (size_t i = 0; i < f->count; i++, p += f->size) {
        uint64_t v;
        int rc = get_int(r, f->size, &v, err);

        if (rc < 0)
            return rc;
        if (f->kind == VIV_FIELD_BOOL && v > 1)
            return viv_fail(err, EINVAL, "saved state of %s: %s is %u, not 0 or 1",
                            r->path ? r->path : "?", f->name, (unsigned)v);
        switch (f->size) {
        case 1:
            *p = (uint8_t)v;
            break;
        case 2:
            *(uint16_t *)p = (uint16_t)v;
            break;
        case 4:
            *(uint32_t *)p = (uint32_t)v;
            break;
        default:
            *(uint64_t *)p = v;
        }
    }
    return 0;
}

static int load_varbytes(struct viv_state_reader *r, const struct viv_field *f, uint8_t *obj,
                         struct viv_err *err)
{
    uint8_t **ptr = (uint8_t **)(obj + f->offset);
    const uint8_t *src;
    uint8_t *copy;
    uint32_t len;
    int rc = viv_state_get_u32(r, &len, err);

    if (rc < 0)
        return rc;
    if (len > f->max_len)
        return viv_fail(err, EINVAL, "saved state of %s: %s has %u bytes, more than %zu",
                        r->path ? r->path : "?", f->name, len, f->max_len);
    src = take(r, len, err);
    if (!src)
        return -EINVAL;
    copy = g_try_malloc(len);
    if (len && !copy)
        return viv_fail(err, ENOMEM, "saved state of %s: no memory for %s", r->path ? r->path : "?",
                        f->name);
    if (len)
        memcpy(copy, src, len);
    g_free(*ptr);
    *ptr = copy;
    *(uint32_t *)(obj + f->len_offset) = len;
    return 0;
}

static int load_timer(struct viv_state_reader *r, struct viv_timer *t, struct viv_err *err)
{
    uint64_t when;
    int rc = get_int(r, 8, &when, err);

    if (rc < 0)
        return rc;
    if ((int64_t)when == INT64_MAX)
        viv_timer_cancel(t);
    else
        viv_timer_set(t, (int64_t)when);
    return 0;
}

static int load_table(struct viv_state_reader *r, const struct viv_state_table *t, void *obj,
                      struct viv_err *err);

static int load_field(struct viv_state_reader *r, const struct viv_field *f, uint8_t *obj,
                      int version, struct viv_err *err)
{
    uint8_t *p = obj + f->offset;
    int rc = 0;

    switch (f->kind) {
    case VIV_FIELD_INT:
    case VIV_FIELD_BOOL:
        return load_ints(r, f, p, err);
    case VIV_FIELD_BYTES:
        return viv_state_get(r, p, f->size, err);
    case VIV_FIELD_STRUCT:
        for (size_t i = 0; i < f->count && rc == 0; i++)
            rc = load_table(r, f->sub, p + i * f->size, err);
        return rc;
    case VIV_FIELD_VARBYTES:
        return load_varbytes(r, f, obj, err);
    case VIV_FIELD_TIMER:
        return load_timer(r, *(struct viv_timer **)p, err);
    case VIV_FIELD_CUSTOM:
        return f->load(r, obj, version, err);
    case VIV_FIELD_DERIVED:
    case VIV_FIELD_CONFIG:
        break;
    }
    return 0;
}

static int get_version(struct viv_state_reader *r, const struct viv_state_table *t, int *version, struct viv_err *err)
{
    uint64_t v;
    int rc = get_int(r, 2, &v, err);

    if (rc < 0)
        return rc;
    *version = (int)v;
    if (*version > t->version || *version < t->min_version)
        return viv_fail(err, EINVAL, "saved state of %s: %s has version %d, known are %d to %d",
                        r->path ? r->path : "?", t->name, *version, t->min_version, t->version);
    return 0;
}

static int load_table(struct viv_state_reader *r, const struct viv_state_table *t, void *obj,
                      struct viv_err *err)
{
    int version, rc = get_version(r, t, &version, err);

    for (const struct viv_field *f = t->fields; f->name && rc == 0; f++) {
        if (f->since <= version)
            rc = load_field(r, f, obj, version, err);
    }
    if (rc == 0 && t->post_load)
        rc = t->post_load(obj, version, err);
    return rc;
}

/* Without an object it is only looked at. */
static int load_body(struct viv_state_reader *r, const struct viv_state_table *t, void *obj,
                     struct viv_err *err)
{
    int version, rc = expect_text(r, "device", t->name, err);

    if (rc == 0)
        rc = obj ? load_table(r, t, obj, err) : get_version(r, t, &version, err);
    if (rc < 0) {
        viv_err_prefix(err, "%s", r->path);
        return rc;
    }
    if (!obj)
        r->pos = r->end;
    if (r->pos != r->end)
        return viv_fail(err, EINVAL, "saved state of %s has %zu bytes that nobody knows", r->path,
                        r->end - r->pos);
    return 0;
}

int viv_state_load(struct viv_state_reader *r, const char *path, const struct viv_state_table *t,
                   void *obj, struct viv_err *err)
{
    size_t outer = r->end;
    const char *outer_path = r->path; /* sections nest: a CUSTOM field may hold some */
    uint64_t tag;
    uint32_t len = 0;
    int rc = get_int(r, 1, &tag, err);

    if (rc == 0 && tag != SECTION_TAG)
        rc = viv_fail(err, EINVAL, "saved state has no section where '%s' is needed", path);
    if (rc == 0)
        rc = expect_text(r, "section", path, err);
    if (rc == 0)
        rc = viv_state_get_u32(r, &len, err);
    if (rc < 0)
        return rc;
    if (!viv_range_inside(r->pos, len, r->end))
        return viv_fail(err, EINVAL, "saved state ends inside section '%s'", path);
    r->end = r->pos + len;
    r->path = path;
    rc = load_body(r, t, obj, err);
    r->path = outer_path;
    r->end = outer;
    return rc;
}

int viv_state_check(struct viv_state_reader *r, const char *path, const struct viv_state_table *t, struct viv_err *err)
{
    return viv_state_load(r, path, t, NULL, err);
}

char *viv_state_peek_section(struct viv_state_reader *r, struct viv_err *err)
{
    size_t start = r->pos;
    uint64_t tag, len;
    const uint8_t *p = NULL;

    if (get_int(r, 1, &tag, err) == 0) {
        if (tag != SECTION_TAG)
            viv_fail(err, EINVAL, "saved state has no section where one is needed");
        else if (get_int(r, 2, &len, err) == 0)
            p = take(r, len, err);
    }
    r->pos = start;
    return p ? g_strndup((const char *)p, len) : NULL;
}
