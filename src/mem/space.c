/* Address spaces: regions, the flat view, dispatch of loads and stores.
 *
 * The flat view is an array of ranges, sorted and without overlap, rebuilt as a whole at each commit (a machine
 * has about a hundred regions and maps them when firmware places BARs). Readers take no lock: a view
 * is published through a sequence counter, its memory is kept for ever and used again (two arrays,
 * which grow by doubling), and a reader that was overtaken by a commit looks again. */
#include "mem/space_int.h"

#include "base/checked.h"
#include "base/units.h"
#include "host/lock.h"

#include <glib.h>
#include <string.h>

struct viv_region {
    struct viv_space *space;
    struct viv_region_desc d;
    uint64_t addr;
    int priority;
    bool mapped;
    uint64_t order; /* among equal priorities the one mapped last is on top */
};

#define FLAT_WORDS (sizeof(struct viv_flat) / sizeof(uint64_t))
_Static_assert(sizeof(struct viv_flat) % sizeof(uint64_t) == 0, "copied by words");

struct view {
    size_t capacity; /* constant */
    size_t count;
    struct viv_flat *ranges;
};

struct viv_space {
    char *name;
    uint64_t last; /* highest address */
    struct viv_space *under; /* its ranges are seen where we have none of our own; or NULL */
    struct viv_space *over;  /* the one that has us under it; or NULL */
    GPtrArray *regions;
    unsigned depth;
    bool changed, a20_off;
    uint64_t order;

    uint32_t seq;      /* odd while a view is replaced */
    struct view *view; /* published */
    struct view *spare;
    GPtrArray *retired; /* views that were outgrown: readers may still look at them */

    GArray *listeners; /* struct listener */
};

struct listener {
    viv_space_changed_fn fn;
    void *opaque;
};

static struct view *view_new(size_t capacity)
{
    struct view *v = g_new0(struct view, 1);

    v->capacity = capacity;
    v->ranges = g_new0(struct viv_flat, capacity);
    return v;
}

static void view_free(void *p)
{
    struct view *v = p;

    g_free(v->ranges);
    g_free(v);
}

static void rebuild(struct viv_space *s);
static void changed(struct viv_space *s);

struct viv_space *viv_space_new(const char *name, unsigned bits)
{
    struct viv_space *s = g_new0(struct viv_space, 1);

    s->name = g_strdup(name);
    s->last = bits >= 64 ? UINT64_MAX : (1ull << bits) - 1;
    s->regions = g_ptr_array_new();
    s->retired = g_ptr_array_new_with_free_func(view_free);
    s->listeners = g_array_new(FALSE, FALSE, sizeof(struct listener));
    s->view = view_new(64);
    s->spare = view_new(64);
    return s;
}

struct viv_space *viv_space_new_over(const char *name, struct viv_space *under)
{
    struct viv_space *s = viv_space_new(name, 64);

    g_assert(!under->over);
    s->last = under->last;
    s->under = under;
    under->over = s;
    rebuild(s);
    return s;
}

void viv_space_free(struct viv_space *s)
{
    if (!s)
        return;
    g_assert(!s->over);
    if (s->under)
        s->under->over = NULL;
    for (guint i = 0; i < s->regions->len; i++)
        g_free(s->regions->pdata[i]);
    g_ptr_array_free(s->regions, TRUE);
    g_ptr_array_free(s->retired, TRUE);
    g_array_free(s->listeners, TRUE);
    view_free(s->view);
    view_free(s->spare);
    g_free(s->name);
    g_free(s);
}

/* ---- building the flat view ---- */

static uint64_t region_last(const struct viv_region *r)
{
    uint64_t last;

    if (!viv_add_u64(r->addr, r->d.size - 1, &last) || last > r->space->last)
        return r->space->last;
    return last;
}

static bool above(const struct viv_region *a, const struct viv_region *b)
{
    if (a->space != b->space)
        return a->space->under == b->space;
    return a->priority != b->priority ? a->priority > b->priority : a->order > b->order;
}

static int by_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static struct viv_flat make_flat(struct viv_region *top, uint64_t start, uint64_t last)
{
    uint64_t off = start - top->addr;
    struct viv_flat f = {
        .r = {.start = start,
              .last = last,
              .kind = top->d.kind,
              .hva =
                  top->d.kind == VIV_REGION_IO ? NULL : top->d.ram->hva + top->d.ram_offset + off,
              .region = top,
              .region_offset = off},
        .lockless = top->d.kind == VIV_REGION_IO && top->d.ops->lockless,
        .covers = top->space->under != NULL,
    };

    return f;
}

/* Those that are mapped, of the space under this one as well. */
static GPtrArray *mapped(struct viv_space *s)
{
    GPtrArray *out = g_ptr_array_new();

    for (struct viv_space *from = s; from; from = from->under) {
        for (guint i = 0; i < from->regions->len; i++) {
            struct viv_region *r = from->regions->pdata[i];

            if (r->mapped && r->addr <= s->last)
                g_ptr_array_add(out, r);
        }
    }
    return out;
}

/* Cuts the space at every start and every end; each piece belongs to the topmost region over it. */
static GArray *flatten(struct viv_space *s)
{
    GArray *cuts = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    GArray *out = g_array_new(FALSE, FALSE, sizeof(struct viv_flat));
    g_autoptr(GPtrArray) regions = mapped(s);

    for (guint i = 0; i < regions->len; i++) {
        struct viv_region *r = regions->pdata[i];
        uint64_t end = region_last(r) + 1;

        g_array_append_val(cuts, r->addr);
        if (end && end <= s->last)
            g_array_append_val(cuts, end);
    }
    g_array_sort(cuts, by_u64);
    for (guint i = 0; i < cuts->len; i++) {
        uint64_t start = g_array_index(cuts, uint64_t, i);
        uint64_t last = i + 1 < cuts->len ? g_array_index(cuts, uint64_t, i + 1) - 1 : s->last;
        struct viv_flat *prev =
            out->len ? &g_array_index(out, struct viv_flat, out->len - 1) : NULL;
        struct viv_region *top = NULL;

        if (i + 1 < cuts->len && last + 1 == start)
            continue; /* the same cut twice */
        for (guint j = 0; j < regions->len; j++) {
            struct viv_region *r = regions->pdata[j];

            if (r->addr <= start && region_last(r) >= start && (!top || above(r, top)))
                top = r;
        }
        if (!top)
            continue;
        if (prev && prev->r.region == top && prev->r.last + 1 == start) {
            prev->r.last = last;
        } else {
            struct viv_flat f = make_flat(top, start, last);

            g_array_append_val(out, f);
        }
    }
    g_array_free(cuts, TRUE);
    return out;
}

/* Without address line 20. */
static GArray *fold(GArray *flat)
{
    GArray *out = g_array_new(FALSE, FALSE, sizeof(struct viv_flat));
    const uint64_t mib = VIV_MIB;

    for (guint pass = 0; pass < 3; pass++) { /* below 1 MiB, the same again, from 2 MiB on */
        uint64_t first = pass < 2 ? 0 : 2 * mib, last = pass < 2 ? mib - 1 : UINT64_MAX;

        for (guint i = 0; i < flat->len; i++) {
            struct viv_flat f = g_array_index(flat, struct viv_flat, i);
            uint64_t skip = f.r.start < first ? first - f.r.start : 0;

            if (f.r.last < first || f.r.start > last)
                continue;
            f.r.start += skip + (pass == 1 ? mib : 0);
            f.r.last = MIN(f.r.last, last) + (pass == 1 ? mib : 0);
            if (f.r.hva)
                f.r.hva += skip;
            f.r.region_offset += skip;
            g_array_append_val(out, f);
        }
    }
    g_array_free(flat, TRUE);
    return out;
}

/* Words are stored and loaded atomically (relaxed): a reader may see a mixture, which the sequence
 * counter then tells it to throw away. */
static void copy_words(void *dst, const void *src)
{
    uint64_t *d = dst;
    const uint64_t *s = src;

    for (size_t i = 0; i < FLAT_WORDS; i++)
        __atomic_store_n(&d[i], __atomic_load_n(&s[i], __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

static void publish(struct viv_space *s, GArray *flat)
{
    struct view *v = s->spare;

    if (flat->len > v->capacity) {
        g_ptr_array_add(s->retired, v);
        v = view_new(MAX(flat->len, 2 * v->capacity));
    }
    __atomic_store_n(&s->seq, s->seq + 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (guint i = 0; i < flat->len; i++)
        copy_words(&v->ranges[i], &g_array_index(flat, struct viv_flat, i));
    __atomic_store_n(&v->count, flat->len, __ATOMIC_RELAXED);
    s->spare = s->view;
    __atomic_store_n(&s->view, v, __ATOMIC_SEQ_CST);
    __atomic_store_n(&s->seq, s->seq + 1, __ATOMIC_SEQ_CST);
}

static void rebuild(struct viv_space *s)
{
    bool folded = s->under ? s->under->a20_off : s->a20_off;
    GArray *flat = folded ? fold(flatten(s)) : flatten(s);

    publish(s, flat);
    g_array_free(flat, TRUE);
    s->changed = false;
    if (s->over) /* before anybody hears of it and looks there */
        changed(s->over);
    for (guint i = 0; i < s->listeners->len; i++) {
        struct listener *l = &g_array_index(s->listeners, struct listener, i);

        l->fn(l->opaque);
    }
}

void viv_space_begin(struct viv_space *s)
{
    s->depth++;
}

void viv_space_commit(struct viv_space *s)
{
    g_assert(s->depth > 0);
    if (--s->depth == 0 && s->changed)
        rebuild(s);
}

static void changed(struct viv_space *s)
{
    s->changed = true;
    if (!s->depth)
        rebuild(s);
}

void viv_space_set_a20(struct viv_space *s, bool on)
{
    if (s->a20_off == !on)
        return;
    s->a20_off = !on;
    changed(s);
}

bool viv_space_a20(const struct viv_space *s)
{
    return !s->a20_off;
}

void viv_space_listen(struct viv_space *s, viv_space_changed_fn fn, void *opaque)
{
    struct listener l = {fn, opaque};

    g_array_append_val(s->listeners, l);
}

/* ---- regions ---- */

static bool power_of_two_or_0(unsigned n)
{
    return n <= 8 && (n & (n - 1)) == 0;
}

struct viv_region *viv_region_new(struct viv_space *s, const struct viv_region_desc *d)
{
    struct viv_region *r = g_new0(struct viv_region, 1);

    g_assert(d->size > 0);
    g_assert(d->kind == VIV_REGION_IO ? d->ops != NULL : d->ram != NULL);
    g_assert(!d->ram || viv_range_inside(d->ram_offset, d->size, d->ram->size));
    g_assert(!d->ops ||
             (power_of_two_or_0(d->ops->min_size) && power_of_two_or_0(d->ops->max_size)));
    r->space = s;
    r->d = *d;
    g_ptr_array_add(s->regions, r);
    return r;
}

void viv_region_free(struct viv_region *r)
{
    if (!r)
        return;
    viv_region_unmap(r);
    g_ptr_array_remove(r->space->regions, r);
    g_free(r);
}

void viv_region_map(struct viv_region *r, uint64_t addr, int priority)
{
    if (r->mapped && r->addr == addr && r->priority == priority)
        return;
    r->addr = addr;
    r->priority = priority;
    r->mapped = true;
    r->order = ++r->space->order;
    changed(r->space);
}

void viv_region_unmap(struct viv_region *r)
{
    if (!r->mapped)
        return;
    r->mapped = false;
    changed(r->space);
}

bool viv_region_mapped(const struct viv_region *r)
{
    return r->mapped;
}

const struct viv_region_desc *viv_region_desc_of(const struct viv_region *r)
{
    return &r->d;
}

uint64_t viv_region_addr(const struct viv_region *r)
{
    return r->addr;
}

int viv_region_priority(const struct viv_region *r)
{
    return r->priority;
}

const char *viv_region_name(const struct viv_region *r)
{
    return r->d.name ? r->d.name : "";
}

/* ---- look-up ---- */

/* First range whose last address is not below addr; count when there is none. */
static size_t lower_bound(const struct view *v, size_t count, uint64_t addr)
{
    size_t lo = 0, hi = count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (__atomic_load_n(&v->ranges[mid].r.last, __ATOMIC_RELAXED) < addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool viv_space_find_flat(struct viv_space *s, uint64_t addr, struct viv_flat *out)
{
    for (;;) {
        uint32_t seq = __atomic_load_n(&s->seq, __ATOMIC_ACQUIRE);
        const struct view *v = __atomic_load_n(&s->view, __ATOMIC_ACQUIRE);
        size_t count = MIN(__atomic_load_n(&v->count, __ATOMIC_RELAXED), v->capacity);
        size_t i = lower_bound(v, count, addr);
        bool above = i < count;

        if (above)
            copy_words(out, &v->ranges[i]);
        else
            *out = (struct viv_flat){.r = {.last = 0}};
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if ((seq & 1) || __atomic_load_n(&s->seq, __ATOMIC_RELAXED) != seq)
            continue;
        return above && out->r.start <= addr;
    }
}

bool viv_space_find(struct viv_space *s, uint64_t addr, struct viv_space_range *out)
{
    struct viv_flat f;

    if (!viv_space_find_flat(s, addr, &f))
        return false;
    *out = f.r;
    return true;
}

bool viv_space_covers(struct viv_space *s, uint64_t addr)
{
    struct viv_flat f;

    return viv_space_find_flat(s, addr, &f) && f.covers;
}

struct viv_space_range *viv_space_ranges(struct viv_space *s, size_t *count)
{
    struct viv_space_range *out = g_new(struct viv_space_range, MAX(s->view->count, 1));

    VIV_ASSERT_DEV_LOCKED();
    for (size_t i = 0; i < s->view->count; i++)
        out[i] = s->view->ranges[i].r;
    *count = s->view->count;
    return out;
}
