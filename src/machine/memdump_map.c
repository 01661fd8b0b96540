/* What of the guest's memory a dump has, and which addresses its readers are to find it at. */
#include "machine/memdump_int.h"

#include "cpu/vcpu.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/page_walk.h"
#include "machine/vm.h"
#include "mem/space.h"

#include <errno.h>
#include <inttypes.h>

#define LOADS_MAX   (1u << 20)
#define KERNEL_MAP  0xffffffff80000000ull /* Linux: Documentation/x86/x86_64/mm.rst */
#define KERNEL_SIZE (1ull << 30)
#define KERNEL_STEP (2ull << 20)

/* --- memory --- */

static void add_block(struct memdump *d, const struct viv_space_range *r, const struct viv_memdump_params *p)
{
    uint64_t start = r->start, last = r->last;
    struct memdump_block b;

    if (p->filter) {
        start = MAX(start, p->begin);
        last = MIN(last, p->begin + (p->length - 1));
    }
    if (start > last)
        return;
    b = (struct memdump_block){start, last - start + 1, r->hva + (start - r->start), d->total};
    d->total += b.size;
    g_array_append_val(d->blocks, b);
}

static void find_blocks(struct memdump *d, const struct viv_memdump_params *p)
{
    size_t n;
    g_autofree struct viv_space_range *r = viv_space_ranges(viv_vm_board()->mem, &n);

    for (size_t i = 0; i < n; i++)
        if (r[i].hva)
            add_block(d, &r[i], p);
}

/* --- without paging: physical addresses --- */

/* One load where nothing but the place in this process differs. */
static void load_blocks(struct memdump *d)
{
    for (guint i = 0; i < d->blocks->len; i++) {
        const struct memdump_block *b = &g_array_index(d->blocks, struct memdump_block, i);
        struct memdump_load *last = d->loads->len ? &g_array_index(d->loads, struct memdump_load, d->loads->len - 1) : NULL;
        struct memdump_load l = {b->gpa, b->gpa, b->size, b->offset};

        if (last && last->gpa + last->size == b->gpa)
            last->size += b->size;
        else
            g_array_append_val(d->loads, l);
    }
}

/* --- with paging: what the CPUs' page tables map --- */


static bool collect(void *opaque, const struct viv_mapped_page *p)
{
    GArray *pages = opaque;
    struct memdump_load *last = pages->len ? &g_array_index(pages, struct memdump_load, pages->len - 1) : NULL;
    struct memdump_load l = {.lin = p->lin, .gpa = p->gpa, .size = p->size};

    if (last && p->lin && last->lin + last->size == p->lin && last->gpa + last->size == p->gpa)
        last->size += p->size;
    else
        g_array_append_val(pages, l);
    return pages->len <= LOADS_MAX;
}

static bool seen_tables(unsigned cpu)
{
    for (unsigned i = 0; i < cpu; i++) {
        const struct viv_x86 *a = viv_vcpus[i]->x86, *b = viv_vcpus[cpu]->x86;

        if ((a->cr0 & VIV_CR0_PG) && a->cr3 == b->cr3 && a->cr4 == b->cr4 && a->msr.efer == b->msr.efer && a->mem == b->mem)
            return true;
    }
    return false;
}

static gint by_address(gconstpointer a, gconstpointer b)
{
    const struct memdump_load *x = a, *y = b;

    if (x->lin != y->lin)
        return x->lin < y->lin ? -1 : 1;
    return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

/* Several CPUs map the same kernel: what says the same of the same addresses becomes one. What processes map differently at one
 * address is there for each. */
static void merge(GArray *pages)
{
    guint kept = 0;

    g_array_sort(pages, by_address);
    for (guint i = 1; i < pages->len; i++) {
        struct memdump_load *a = &g_array_index(pages, struct memdump_load, kept), *b = &g_array_index(pages, struct memdump_load, i);
        uint64_t skip = b->lin - a->lin;

        if (a->gpa + skip == b->gpa && skip <= a->size)
            a->size = MAX(a->size, skip + b->size);
        else
            g_array_index(pages, struct memdump_load, ++kept) = *b;
    }
    if (pages->len)
        g_array_set_size(pages, kept + 1);
}

/* The first block that ends behind gpa. */
static guint block_at(const struct memdump *d, uint64_t gpa)
{
    guint low = 0, high = d->blocks->len;

    while (low < high) {
        guint mid = low + (high - low) / 2;
        const struct memdump_block *b = &g_array_index(d->blocks, struct memdump_block, mid);

        if (b->gpa + (b->size - 1) < gpa)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The parts of a run of pages that are memory. */
static void load_run(struct memdump *d, const struct memdump_load *run)
{
    bool joins = false;

    for (guint i = block_at(d, run->gpa); i < d->blocks->len; i++) {
        const struct memdump_block *b = &g_array_index(d->blocks, struct memdump_block, i);
        uint64_t start = MAX(run->gpa, b->gpa), last = MIN(run->gpa + (run->size - 1), b->gpa + (b->size - 1));
        struct memdump_load l = {run->lin + (start - run->gpa), start, last - start + 1, b->offset + (start - b->gpa)};
        struct memdump_load *before = joins ? &g_array_index(d->loads, struct memdump_load, d->loads->len - 1) : NULL;

        if (b->gpa > run->gpa + (run->size - 1))
            break;
        if (before && before->gpa + before->size == start)
            before->size += l.size;
        else
            g_array_append_val(d->loads, l);
        joins = true;
    }
}

static int load_pages(struct memdump *d, struct viv_err *err)
{
    unsigned tables = VIV_PAGE_TABLES_MAX;
    g_autoptr(GArray) pages = g_array_new(FALSE, FALSE, sizeof(struct memdump_load));

    for (unsigned i = 0; i < viv_vcpu_count; i++)
        if (!seen_tables(i) && !viv_x86_each_page(viv_vcpus[i]->x86, &tables, collect, pages))
            return viv_fail(err, E2BIG, "paging: the guest's page tables are too many, or map too many pieces of memory (more than %u); "
                            "without paging memory is at its physical addresses", LOADS_MAX);
    merge(pages);
    for (guint i = 0; i < pages->len && d->loads->len <= LOADS_MAX; i++)
        load_run(d, &g_array_index(pages, struct memdump_load, i));
    if (d->loads->len > LOADS_MAX)
        return viv_fail(err, E2BIG, "paging: the guest maps more than %u pieces of memory", LOADS_MAX);
    return 0;
}

/* --- the machine's mode --- */

static bool any_cpu_is(bool (*is)(const struct viv_x86 *c))
{
    for (unsigned i = 0; i < viv_vcpu_count; i++)
        if (is(viv_vcpus[i]->x86))
            return true;
    return false;
}

static bool in_long_mode(const struct viv_x86 *c)
{
    return c->msr.efer & VIV_EFER_LMA;
}

static bool paged(const struct viv_x86 *c)
{
    return c->cr0 & VIV_CR0_PG;
}

/* Where the CPU sees the beginning of a kernel's text. 0: there is none, or it lies where it was linked. */
static uint64_t find_phys_base(void)
{
    for (unsigned i = 0; i < viv_vcpu_count; i++) {
        uint64_t gpa;

        for (uint64_t off = 0; off < KERNEL_SIZE && in_long_mode(viv_vcpus[i]->x86); off += KERNEL_STEP)
            if (viv_mmu_translate_debug(viv_vcpus[i]->x86, KERNEL_MAP + off, &gpa))
                return gpa - off;
    }
    return 0;
}

int memdump_map(struct memdump *d, const struct viv_memdump_params *p, struct viv_err *err)
{
    d->blocks = g_array_new(FALSE, FALSE, sizeof(struct memdump_block));
    d->loads = g_array_new(FALSE, FALSE, sizeof(struct memdump_load));
    d->is_64bit = any_cpu_is(in_long_mode);
    find_blocks(d, p);
    if (!d->total)
        return viv_fail(err, EINVAL, "dump: no guest memory to dump from %#" PRIx64 " on", p->begin);
    if (p->format == VIV_MEMDUMP_KDUMP_ZLIB) {
        d->phys_base = find_phys_base();
        return d->is_64bit ? 0 : viv_fail(err, ENOTSUP, "format 'kdump-zlib': the guest is not in 64-bit mode; 'elf' takes any");
    }
    if (p->paging && any_cpu_is(paged))
        return load_pages(d, err);
    load_blocks(d);
    return 0;
}
