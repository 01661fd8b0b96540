#include "accel/xlate_info.h"

#include "cpu/vcpu.h"
#include "cpu/x86/xlate/xlate.h"
#include "mem/space.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define CPUS_A_TABLE 6
#define TOP_PAGES    10

static const struct row {
    const char *name;
    size_t offset;
} rows[] = {
#define ROW(field, text) {text, offsetof(struct viv_xlate_stats, field)}
    ROW(blocks, "blocks alive"),
    ROW(translated, "blocks translated"),
    ROW(guest_bytes, "guest bytes translated"),
    ROW(host_bytes, "host bytes made"),
    ROW(code_used, "cache bytes used"),
    ROW(code_size, "cache bytes"),
    ROW(flushes, "cache flushes"),
    ROW(invalidations, "blocks invalidated"),
    ROW(revalidations, "blocks revalidated"),
    ROW(links, "jumps linked"),
    ROW(dispatches, "dispatches"),
    ROW(jump_misses, "jump cache misses"),
    ROW(tlb_misses, "memory slow paths"),
    ROW(interp_insns, "interpreted instructions"),
    ROW(helper_calls, "helper calls"),
    ROW(host_faults, "host faults"),
#undef ROW
};

static uint64_t value(const struct viv_xlate_stats *s, const struct row *r)
{
    uint64_t v;

    memcpy(&v, (const char *)s + r->offset, sizeof(v));
    return v;
}

/* Columns of CPUs from `first` on; the sums when sum is not NULL. */
static void put_table(GString *out, const struct viv_xlate_stats *s, unsigned first, unsigned count,
                      const struct viv_xlate_stats *sum)
{
    g_string_append_printf(out, "%-25s", "");
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *title = g_strdup_printf("CPU %u", first + i);

        g_string_append_printf(out, " %14s", title);
    }
    g_string_append_printf(out, sum ? " %14s\n" : "\n", "all");
    for (size_t r = 0; r < G_N_ELEMENTS(rows); r++) {
        g_string_append_printf(out, "%-25s", rows[r].name);
        for (unsigned i = 0; i < count; i++)
            g_string_append_printf(out, " %14" PRIu64, value(&s[first + i], &rows[r]));
        if (sum)
            g_string_append_printf(out, " %14" PRIu64, value(sum, &rows[r]));
        g_string_append_c(out, '\n');
    }
}

static void put_stats(GString *out)
{
    g_autofree struct viv_xlate_stats *s = g_new0(struct viv_xlate_stats, viv_vcpu_count);
    struct viv_xlate_stats sum = {0};

    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        viv_xlate_get_stats(viv_vcpus[i]->x86, &s[i]);
        for (size_t r = 0; r < G_N_ELEMENTS(rows); r++) {
            uint64_t v = value(&sum, &rows[r]) + value(&s[i], &rows[r]);

            memcpy((char *)&sum + rows[r].offset, &v, sizeof(v));
        }
    }
    for (unsigned i = 0; i < viv_vcpu_count; i += CPUS_A_TABLE) {
        unsigned left = viv_vcpu_count - i;

        put_table(out, s, i, MIN(left, CPUS_A_TABLE), left <= CPUS_A_TABLE && viv_vcpu_count > 1 ? &sum : NULL);
    }
}

/* One page in the caches of several vCPUs is one row. */
static GArray *gather_pages(void)
{
    GArray *all = g_array_new(FALSE, FALSE, sizeof(struct viv_xlate_page));

    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        struct viv_xlate_page page[4 * TOP_PAGES];
        unsigned n = viv_xlate_top_pages(viv_vcpus[i]->x86, page, G_N_ELEMENTS(page));

        for (unsigned p = 0; p < n; p++) {
            struct viv_xlate_page *same = NULL;

            for (guint a = 0; a < all->len && !same; a++) {
                if (g_array_index(all, struct viv_xlate_page, a).hva == page[p].hva)
                    same = &g_array_index(all, struct viv_xlate_page, a);
            }
            if (!same) {
                g_array_append_val(all, page[p]);
                continue;
            }
            same->blocks += page[p].blocks;
            same->invalidations += page[p].invalidations;
        }
    }
    return all;
}

static gint most_blocks(gconstpointer a, gconstpointer b)
{
    const struct viv_xlate_page *x = a, *y = b;

    return (x->blocks < y->blocks) - (x->blocks > y->blocks);
}

static bool guest_address(const struct viv_space_range *r, size_t n, const uint8_t *hva, uint64_t *gpa)
{
    for (size_t i = 0; i < n; i++) {
        if (r[i].hva && hva >= r[i].hva && (uint64_t)(hva - r[i].hva) <= r[i].last - r[i].start) {
            *gpa = r[i].start + (uint64_t)(hva - r[i].hva);
            return true;
        }
    }
    return false;
}

static void put_pages(struct viv_space *mem, GString *out)
{
    g_autoptr(GArray) pages = gather_pages();
    size_t n;
    g_autofree struct viv_space_range *ranges = viv_space_ranges(mem, &n);

    g_array_sort(pages, most_blocks);
    g_string_append(out, "\npages with most blocks     blocks  invalidations\n");
    for (guint i = 0; i < pages->len && i < TOP_PAGES; i++) {
        const struct viv_xlate_page *p = &g_array_index(pages, struct viv_xlate_page, i);
        uint64_t gpa;

        if (guest_address(ranges, n, p->hva, &gpa))
            g_string_append_printf(out, "  0x%016" PRIx64, gpa);
        else
            g_string_append_printf(out, "  %-18s", "(no longer mapped)");
        g_string_append_printf(out, " %12u %14" PRIu64 "\n", p->blocks, p->invalidations);
    }
}

void viv_xlate_info(struct viv_space *mem, GString *out)
{
    put_stats(out);
    put_pages(mem, out);
}
