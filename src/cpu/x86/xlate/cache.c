/* The code cache of one vCPU: space for code, blocks by address, links between them, and what happens when guest
 * code changes. Only the vCPU's own thread comes here, except for notices. */
#include "cpu/x86/xlate/xlate_int.h"

#include "cpu/x86/xlate/l1.h"

#include "host/huge.h"
#include "mem/ram.h"

#include <errno.h>
#include <glib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CACHE_DEFAULT (128u << 20)
#define CACHE_LEAST   (256u << 10)
#define HASH_BYTES    (sizeof(struct xl_block *) << XL_HASH_BITS)
#define BLOCK_MOST    (48u << 10) /* code of the longest block, stubs included */

static void *map_view(int fd, size_t size, int prot)
{
    void *at = viv_huge_reserve(size, 0), *view = MAP_FAILED;
    int e;

    if (at)
        view = mmap(at, size, prot, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
    if (at && view == MAP_FAILED) {
        e = errno;
        munmap(at, size);
        errno = e;
    }
    return view;
}

static int map_views(struct viv_xlate *x, struct viv_err *err)
{
    int fd = memfd_create("viv-code", MFD_CLOEXEC);
    int r;

    if (fd < 0)
        return viv_fail_os(err, errno, "translator: no memfd for its code cache");
    if (ftruncate(fd, (off_t)x->size) < 0) {
        r = viv_fail_os(err, errno, "translator: code cache of %zu MiB", x->size >> 20);
        close(fd);
        return r;
    }
    x->rw = map_view(fd, x->size, PROT_READ | PROT_WRITE);
    x->rx = map_view(fd, x->size, PROT_READ | PROT_EXEC);
    r = errno;
    close(fd);
    if (x->rw != MAP_FAILED && x->rx != MAP_FAILED)
        return 0;
    viv_xl_cache_fini(x);
    return viv_fail_os(err, r, "translator: the host refuses executable memory");
}

/* Anonymous memory, page aligned: zeros again, and what was touched goes back. */
static void make_empty(void *at, size_t n)
{
    if (madvise(at, n, MADV_DONTNEED) < 0)
        memset(at, 0, n);
}

int viv_xl_cache_init(struct viv_xlate *x, struct viv_err *err)
{
    int r;

    x->size = x->opts.cache_bytes ? x->opts.cache_bytes : CACHE_DEFAULT;
    x->size = (x->size < CACHE_LEAST ? CACHE_LEAST : x->size) & ~(size_t)4095;
    r = map_views(x, err);
    if (r < 0)
        return r;
    x->huge_most = x->size >= 2 * VIV_HUGE_PAGE ? x->size & ~(VIV_HUGE_PAGE - 1) : 0;
    x->arena_size = x->size;
    x->fault_most = (unsigned)(x->size / 64);
    x->arena = mmap(NULL, x->arena_size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    x->faults = mmap(NULL, x->fault_most * sizeof(*x->faults), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    x->hash = mmap(NULL, HASH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (x->arena == MAP_FAILED || x->faults == MAP_FAILED || x->hash == MAP_FAILED) {
        viv_xl_cache_fini(x);
        return viv_fail(err, ENOMEM, "translator: no memory for its tables");
    }
    /* What another translator of this CPU has left: a slot that is not 0 counts as known to a flush. */
    make_empty((uint8_t *)x->c + XL_JC, XL_JC_BYTES);
    x->e = (struct emit){.p = x->rw, .delta = x->rx - x->rw};
    viv_xl_common_code(x);
    x->start = (size_t)(x->e.p - x->rw);
    x->stats.code_size = x->size;
    return 0;
}

static void unmap(void *at, size_t n)
{
    if (at && at != MAP_FAILED)
        munmap(at, n);
}

void viv_xl_cache_fini(struct viv_xlate *x)
{
    unmap(x->rw, x->size);
    unmap(x->rx, x->size);
    unmap(x->arena, x->arena_size);
    unmap(x->faults, x->fault_most * sizeof(*x->faults));
    unmap(x->hash, HASH_BYTES);
    x->rw = x->rx = x->arena = NULL;
    x->faults = NULL;
    x->hash = NULL;
}

void viv_xl_cache_wrote(struct viv_xlate *x, void *slot)
{
    if (x->written_count < XL_WRITTEN)
        x->written[x->written_count] = slot;
    if (x->written_count <= XL_WRITTEN)
        x->written_count++;
}

/* Slot by slot when they are few: pages that come back cost a fault each to read and another to write, and the second interrupts
 * all other CPUs. A small cache, emptied all the time, would do nothing else. */
static void empty_tables(struct viv_xlate *x)
{
    if (x->written_count > XL_WRITTEN) {
        make_empty(x->hash, HASH_BYTES);
        make_empty((uint8_t *)x->c + XL_JC, XL_JC_BYTES);
    } else {
        for (unsigned n = 0; n < x->written_count; n++)
            memset(x->written[n], 0, 8);
    }
    x->written_count = 0;
}

void viv_xl_cache_flush(struct viv_xlate *x)
{
    x->e.p = x->rw + x->start;
    x->arena_used = 0;
    x->fault_count = 0;
    empty_tables(x);
    memset(x->pages, 0, sizeof(x->pages));
    x->stats.flushes++;
    x->stats.blocks = 0;
}

/* A guest that has filled one huge page with code is a big one: from then on code comes in huge pages, whole ones from the start, and
 * its tables are moved to some as well. Saves two page faults for each 4 KiB of code, and misses of the host's TLBs. */
static void more_huge(struct viv_xlate *x)
{
    size_t n = VIV_HUGE_PAGE;

    if (!x->huge) {
        (void)viv_huge_make((uint8_t *)x->c + XL_L1, XL_REGION - XL_L1);
        n *= 2;
    }
    x->rw[x->huge + n - 1] = 0; /* there has to be something */
    if (viv_huge_make(x->rw + x->huge, n) < 0 || viv_huge_make(x->rx + x->huge, n) < 0)
        x->huge_most = 0; /* not on this host */
    x->huge += n;
}

void viv_xl_cache_room(struct viv_xlate *x)
{
    size_t used = (size_t)(x->e.p - x->rw);
    bool fail = x->opts.fail_nth && ++x->allocations % x->opts.fail_nth == 0;

    if (fail || used + BLOCK_MOST > x->size || x->arena_used + BLOCK_MOST > x->arena_size ||
        x->fault_count + 256 > x->fault_most)
        viv_xl_cache_flush(x);
    else if (used + BLOCK_MOST > (x->huge ? x->huge : VIV_HUGE_PAGE) && x->huge < x->huge_most)
        more_huge(x);
}

void *viv_xl_alloc(struct viv_xlate *x, size_t n)
{
    void *p = x->arena + x->arena_used;

    x->arena_used += (n + 7) & ~(size_t)7;
    return p;
}

/* ---- blocks ---- */

static unsigned hash_of(const uint8_t *hva, unsigned mode)
{
    return (((uintptr_t)hva ^ (uint64_t)mode << 48) * 0x9e3779b97f4a7c15ull) >> (64 - XL_HASH_BITS);
}

static struct xl_page *page_of(struct viv_xlate *x, size_t page, bool make)
{
    struct xl_page **head = &x->pages[page & ((1u << XL_PAGE_BITS) - 1)], *p;

    for (p = *head; p; p = p->next)
        if (p->page == page)
            return p;
    if (!make)
        return NULL;
    p = viv_xl_alloc(x, sizeof(*p));
    *p = (struct xl_page){.page = page, .next = *head};
    *head = p;
    return p;
}

uint32_t viv_xl_mark_code(struct viv_xlate *x, const uint8_t *hva)
{
    size_t page = viv_arena_page(hva);
    const struct xl_page *p = page_of(x, page, false);
    bool known = p && p->live && (viv_page_flags(page) & VIV_PAGE_CODE);
    uint32_t version = viv_ram_mark_code(hva);

    if (!known)
        viv_l1_protect(x->c, hva);
    return version;
}

static void refer(struct viv_xlate *x, struct xl_block *b, unsigned n, const uint8_t *hva)
{
    struct xl_page *p = page_of(x, viv_arena_page(hva), true);

    b->ref[n] = (struct xl_ref){.block = b, .next = p->blocks};
    p->blocks = &b->ref[n];
    p->live = true;
}

void viv_xl_insert(struct viv_xlate *x, struct xl_block *b)
{
    struct xl_block **head = &x->hash[hash_of(b->hva, b->mode)];

    if (!*head)
        viv_xl_cache_wrote(x, head);
    b->hash_next = *head;
    *head = b;
    refer(x, b, 0, b->hva);
    if (b->hva2)
        refer(x, b, 1, b->hva2);
    x->stats.blocks++;
}

/* ---- links ---- */

/* The question that viv_xl_gen_space() makes: mov r11, i64; mov rcx, [rsp + d8]; ... */
#define SPACE_I64 2
#define SPACE_D8  14

static void put64(uint8_t *at, uint64_t v)
{
    memcpy(at, &v, 8);
}

void viv_xl_set_space(struct viv_xlate *x, uint8_t *space, bool global)
{
    space[SPACE_D8] = global ? XL_O_GSPACE : XL_O_SPACE;
    put64(space + SPACE_I64, -((global ? x->gspace : x->space) + x->c->xl_page));
}

void viv_xl_link(struct viv_xlate *x, struct xl_site *s, struct xl_block *to, bool global)
{
    if (x->opts.no_chain)
        return;
    if (s->space)
        viv_xl_set_space(x, s->space, global);
    if (s->to == to)
        return;
    if (s->to)
        viv_xl_unlink(s);
    s->to = to;
    s->next = to->in;
    to->in = s;
    e_patch(s->at, to->code);
    x->stats.links++;
}

/* The jump leads to its stub again. */
static void reset(struct xl_site *s)
{
    if (s->space)
        put64(s->space + SPACE_I64, XL_SPACE_NEVER);
    else
        e_patch(s->at, s->stub);
    s->to = NULL;
    s->next = NULL;
}

void viv_xl_unlink(struct xl_site *s)
{
    struct xl_site **at = &s->to->in;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    reset(s);
}

static void unlink_all(struct xl_block *b)
{
    struct xl_site *s, *next;

    for (s = b->in; s; s = next) {
        next = s->next;
        reset(s);
    }
    b->in = NULL;
}

/* ---- changed code ---- */

/* Nothing reaches a stale block but old entries of the jump cache: its first bytes lead them to the dispatcher. */
static void make_stale(struct xl_block *b)
{
    if (b->stale)
        return;
    b->stale = true;
    unlink_all(b);
    memcpy(b->saved, b->code, sizeof(b->saved));
    b->code[0] = 0xe9;
    e_patch(b->code + 1, b->stale_stub);
}

/* The same bytes still? Then it lives again. */
static bool revalidate(struct viv_xlate *x, struct xl_block *b)
{
    size_t first = b->hva2 ? VIV_PAGE_SIZE - ((uintptr_t)b->hva & (VIV_PAGE_SIZE - 1)) : b->bytes;
    uint32_t version = viv_xl_mark_code(x, b->hva), version2 = b->hva2 ? viv_xl_mark_code(x, b->hva2) : 0;

    if (memcmp(b->copy, b->hva, first) || (b->hva2 && memcmp(b->copy + first, b->hva2, b->bytes - first)))
        return false;
    memcpy(b->code, b->saved, sizeof(b->saved));
    b->version[0] = version;
    b->version[1] = version2;
    b->stale = false;
    page_of(x, viv_arena_page(b->hva), false)->live = true;
    if (b->hva2)
        page_of(x, viv_arena_page(b->hva2), false)->live = true;
    x->stats.revalidations++;
    return true;
}

static void drop_ref(struct viv_xlate *x, struct xl_ref *r, const uint8_t *hva)
{
    struct xl_ref **at = &page_of(x, viv_arena_page(hva), false)->blocks;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
}

static void forget(struct viv_xlate *x, struct xl_block *b)
{
    struct xl_block **at = &x->hash[hash_of(b->hva, b->mode)];

    while (*at != b)
        at = &(*at)->hash_next;
    *at = b->hash_next;
    drop_ref(x, &b->ref[0], b->hva);
    if (b->hva2)
        drop_ref(x, &b->ref[1], b->hva2);
    x->stats.blocks--;
    x->stats.invalidations++;
}

static bool up_to_date(const struct xl_block *b)
{
    return b->version[0] == __atomic_load_n(b->version_at[0], __ATOMIC_ACQUIRE) &&
           (!b->hva2 || b->version[1] == __atomic_load_n(b->version_at[1], __ATOMIC_ACQUIRE));
}

void viv_xl_forget(struct viv_xlate *x, struct xl_block *b)
{
    make_stale(b);
    forget(x, b);
}

struct xl_block *viv_xl_find(struct viv_xlate *x, const uint8_t *hva, unsigned mode)
{
    struct xl_block *b;

    for (b = x->hash[hash_of(hva, mode)]; b; b = b->hash_next)
        if (b->hva == hva && b->mode == mode)
            break;
    if (!b)
        return NULL;
    if (!b->stale && !up_to_date(b))
        make_stale(b);
    if (!b->stale || revalidate(x, b))
        return b;
    forget(x, b);
    return NULL;
}

void viv_xl_page_changed(struct viv_xlate *x, size_t page)
{
    struct xl_page *p = page_of(x, page, false);

    if (!p || !p->live)
        return;
    p->live = false;
    p->invalidations++;
    for (struct xl_ref *r = p->blocks; r; r = r->next)
        make_stale(r->block);
}

void viv_xl_take_notices(struct viv_xlate *x)
{
    size_t page[XL_NOTICES];
    unsigned n;

    if (!__atomic_load_n(&x->notices, __ATOMIC_RELAXED))
        return;
    pthread_mutex_lock(&x->notice_lock);
    n = x->notices;
    if (n <= XL_NOTICES)
        memcpy(page, x->notice, n * sizeof(*page));
    x->notices = 0;
    pthread_mutex_unlock(&x->notice_lock);
    if (n > XL_NOTICES)
        viv_xl_cache_flush(x);
    else
        for (unsigned k = 0; k < n; k++)
            viv_xl_page_changed(x, page[k]);
}

/* ---- faults ---- */

bool viv_xl_fault_at(struct viv_xlate *x, uintptr_t host, unsigned *off)
{
    uint32_t at = (uint32_t)(host - (uintptr_t)x->rx);
    unsigned lo = 0, hi = x->fault_count;

    if (host - (uintptr_t)x->rx >= x->size)
        return false;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;

        if (x->faults[mid].at < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == x->fault_count || x->faults[lo].at != at)
        return false;
    *off = x->faults[lo].off;
    return true;
}
