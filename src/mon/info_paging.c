/* info mem, info tlb: what a CPU's page tables map. What is printed has bounds, as what is read has. */
#include "mon/mon_int.h"

#include "cpu/vcpu.h"
#include "cpu/x86/page_walk.h"
#include "cpu/x86/state.h"

#include <inttypes.h>

#define TEXT_MAX (1u << 20)

struct map {
    GString *out;
    bool each; /* every page; else ranges with the same rights */
    uint64_t start, end; /* the range that is being collected */
    unsigned rights;
};

static void put_range(struct map *m)
{
    if (m->end > m->start || (m->start && !m->end))
        g_string_append_printf(m->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %c%c%c\n", m->start, m->end, m->end - m->start,
                               m->rights & VIV_PTE_U ? 'u' : '-', 'r', m->rights & VIV_PTE_W ? 'w' : '-');
    m->start = m->end = 0;
}

static void put_page(struct map *m, const struct viv_mapped_page *p)
{
    uint64_t e = p->entry;

    g_string_append_printf(m->out, "%016" PRIx64 ": %016" PRIx64 " %c%c%c%c%c%c%c%c%c\n", p->lin, p->gpa, e & VIV_PTE_NX ? 'X' : '-',
                           e & VIV_PTE_G ? 'G' : '-', p->size > 4096 ? 'P' : '-', e & VIV_PTE_D ? 'D' : '-', e & VIV_PTE_A ? 'A' : '-',
                           e & VIV_PTE_PCD ? 'C' : '-', e & VIV_PTE_PWT ? 'T' : '-', e & VIV_PTE_U ? 'U' : '-', e & VIV_PTE_W ? 'W' : '-');
}

static bool found(void *opaque, const struct viv_mapped_page *p)
{
    struct map *m = opaque;

    if (m->out->len > TEXT_MAX)
        return false;
    if (m->each) {
        put_page(m, p);
        return true;
    }
    if (p->lin != m->end || p->rights != m->rights || m->start == m->end) {
        put_range(m);
        m->start = p->lin;
        m->rights = p->rights;
    }
    m->end = p->lin + p->size;
    return true;
}

static void show(struct viv_vcpu *v, bool each, GString *out)
{
    unsigned tables = VIV_PAGE_TABLES_MAX;
    struct map m = {.out = out, .each = each};
    bool all;

    if (!(v->x86->cr0 & VIV_CR0_PG)) {
        g_string_append(out, "PG disabled\n");
        return;
    }
    all = viv_x86_each_page(v->x86, &tables, found, &m);
    if (!each)
        put_range(&m);
    if (!all)
        g_string_append(out, "... and more: the tables are too many, or too much to print\n");
}

static int info(bool each, json_t **result, struct viv_err *err)
{
    struct viv_vcpu *v = viv_mon_cpu(err);
    GString *out;
    bool running;

    if (!v)
        return -ENODEV;
    out = g_string_new(NULL);
    running = viv_mon_freeze();
    show(v, each, out);
    viv_mon_thaw(running);
    *result = json_string(out->str);
    g_string_free(out, TRUE);
    return 0;
}

int viv_mon_info_mem(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    return info(false, result, err);
}

int viv_mon_info_tlb(struct viv_opts *o, json_t **result, struct viv_err *err)
{
    return info(true, result, err);
}
