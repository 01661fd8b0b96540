/* The arena: guest memory blocks, page flags, page versions, dirty log.
 *
 * One reservation of address space (1 TiB, or the largest power of two the host grants) is made on first use.
 * A block is anonymous memory over a part of it, on a 2 MiB boundary so that huge pages fit. The
 * two per-page arrays cover the whole reservation and are committed by the kernel as they are touched: the
 * flags by the first access of translated code to a page.
 *
 * Flags and versions against vCPUs that store meanwhile (no locks on the store path):
 *   storer:   store bytes; load flags; if set: clear CODE, then bump the version
 *   decoder:  read version; set CODE; barrier on all threads; read bytes; keep the version read first
 * The barrier is membarrier(2), so that the storer needs no fence between store and load. DMA takes
 * a fence of its own (viv_ram_written), which lets a one-vCPU guest do without the system call. */
#include "mem/ram.h"

#include "base/checked.h"
#include "base/units.h"

#include <errno.h>
#include <glib.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARENA_MAX   VIV_TIB
#define ARENA_MIN   (256 * VIV_MIB)
#define BLOCK_ALIGN (2 * VIV_MIB)

uint8_t *viv_arena_base;
uint16_t *viv_arena_flags;
uint32_t *viv_arena_version;

static struct {
    uint64_t size, used;
    GPtrArray *blocks; /* struct viv_ram * */
    GPtrArray *spare;  /* released ones */
    pthread_mutex_t code_lock;
    unsigned vcpus;
    bool expedited; /* membarrier PRIVATE_EXPEDITED is registered */
    const struct viv_ram_log_source *log;
    void (*code_changed)(size_t page);
} arena = {.code_lock = PTHREAD_MUTEX_INITIALIZER};

void viv_ram_early(void)
{
    if (!arena.expedited)
        arena.expedited = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

static void *reserve(uint64_t size, int prot)
{
    void *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static bool try_arena(uint64_t size)
{
    uint64_t pages = size >> VIV_PAGE_SHIFT;
    uint8_t *base = reserve(size + BLOCK_ALIGN, PROT_NONE);
    uint16_t *flags = reserve(pages * sizeof(*flags), PROT_READ | PROT_WRITE);
    uint32_t *version = reserve(pages * sizeof(uint32_t), PROT_READ | PROT_WRITE);

    if (!base || !flags || !version) {
        if (base)
            munmap(base, size + BLOCK_ALIGN);
        if (flags)
            munmap(flags, pages * sizeof(*flags));
        if (version)
            munmap(version, pages * sizeof(uint32_t));
        return false;
    }
    viv_arena_base = (uint8_t *)viv_align_down((uintptr_t)base + BLOCK_ALIGN - 1, BLOCK_ALIGN);
    viv_arena_flags = flags;
    viv_arena_version = version;
    arena.size = size;
    arena.blocks = g_ptr_array_new();
    arena.spare = g_ptr_array_new();
    viv_ram_early();
    return true;
}

/* A limit on address space (RLIMIT_AS, a sanitizer's shadow) may refuse the large one. */
static bool arena_ready(void)
{
    for (uint64_t size = ARENA_MAX; !viv_arena_base && size >= ARENA_MIN; size /= 2)
        try_arena(size);
    return viv_arena_base != NULL;
}

uint64_t viv_arena_bytes(void)
{
    return arena.size;
}

/* By default private, not a memfd: hosts give huge pages to anonymous memory far more often than to shared (shmem_enabled), and a
 * guest's TLB misses cost us the host's. */
static int map_block(struct viv_ram *ram, uint8_t *hva, const struct viv_ram_place *at, struct viv_err *err)
{
    int flags = MAP_FIXED | (at->shared ? MAP_SHARED : MAP_PRIVATE) | (at->fd < 0 ? MAP_ANONYMOUS : 0) | (at->reserve ? 0 : MAP_NORESERVE);

    if (mmap(hva, ram->size, PROT_READ | PROT_WRITE, flags, at->fd, 0) == MAP_FAILED)
        return viv_fail_os(err, errno, "memory '%s': cannot map %" G_GUINT64_FORMAT " MiB", ram->name,
                           ram->size >> 20);
    /* Advice only: nothing is lost where it is not taken. */
    if (ram->size >= BLOCK_ALIGN)
        (void)madvise(hva, ram->size, MADV_HUGEPAGE);
    (void)madvise(hva, ram->size, MADV_DONTDUMP);
    ram->hva = hva;
    ram->fd = at->shared ? at->fd : -1;
    ram->below = at->shared ? -1 : at->fd;
    return 0;
}

static struct viv_ram *take_spare(uint64_t size)
{
    for (guint i = 0; i < arena.spare->len; i++) {
        struct viv_ram *ram = arena.spare->pdata[i];

        if (ram->size == size)
            return g_ptr_array_remove_index_fast(arena.spare, i);
    }
    return NULL;
}

/* Where the next block begins: `align` may be more than that of all blocks (pages of 1 GiB). */
static uint64_t next_place(uint64_t align)
{
    uint64_t base = (uintptr_t)viv_arena_base, at = base + arena.used;

    align = align > BLOCK_ALIGN ? align : BLOCK_ALIGN;
    return viv_align_down(at + align - 1, align) - base;
}

static int make(const char *name, uint64_t size, const struct viv_ram_place *at, struct viv_ram **out, struct viv_err *err)
{
    uint64_t room = 0, offset = next_place(at->align);
    struct viv_ram *ram;
    int r;

    if (!viv_align_up_checked(size, BLOCK_ALIGN, &room) || offset > arena.size || room > arena.size - offset)
        return viv_fail(err, ENOMEM,
                        "memory '%s': %" G_GUINT64_FORMAT " MiB do not fit, %" G_GUINT64_FORMAT
                        " MiB of address space are left",
                        name, size >> 20, (arena.size - arena.used) >> 20);

    ram = g_new0(struct viv_ram, 1);
    ram->name = name;
    ram->size = size;
    r = map_block(ram, viv_arena_base + offset, at, err);
    if (r < 0) {
        g_free(ram);
        return r;
    }
    arena.used = offset + room;
    g_ptr_array_add(arena.blocks, ram);
    *out = ram;
    return 0;
}

static int check_size(const char *name, uint64_t size, struct viv_err *err)
{
    if (!size || !viv_is_aligned(size, VIV_PAGE_SIZE))
        return viv_fail(err, EINVAL,
                        "memory '%s': %" G_GUINT64_FORMAT " bytes is not a multiple of 4096", name,
                        size);
    if (!arena_ready())
        return viv_fail(err, ENOMEM,
                        "memory '%s': cannot reserve address space (is 'ulimit -v' set?)", name);
    return 0;
}

int viv_ram_new(const char *name, uint64_t size, struct viv_ram **out, struct viv_err *err)
{
    static const struct viv_ram_place anywhere = {.fd = -1};
    struct viv_ram *ram;
    int r = check_size(name, size, err);

    if (r < 0)
        return r;
    ram = take_spare(size);
    if (!ram)
        return make(name, size, &anywhere, out, err);
    ram->name = name;
    ram->keeps = false;
    g_ptr_array_add(arena.blocks, ram);
    *out = ram;
    return 0;
}

int viv_ram_new_at(const char *name, uint64_t size, const struct viv_ram_place *place, struct viv_ram **out, struct viv_err *err)
{
    int r = check_size(name, size, err);

    return r < 0 ? r : make(name, size, place, out, err);
}

void viv_ram_release(struct viv_ram *ram)
{
    if (!ram)
        return;
    g_assert(!ram->logs && ram->fd < 0 && ram->below < 0);
    /* Zero from now on; what a vCPU had decoded there is no longer so. */
    madvise(ram->hva, ram->size, MADV_DONTNEED);
    viv_ram_written(ram->hva, ram->size);
    g_ptr_array_remove(arena.blocks, ram);
    g_ptr_array_add(arena.spare, ram);
}

struct viv_ram *viv_ram_next(struct viv_ram *prev)
{
    guint i = 0;

    if (!arena.blocks)
        return NULL;
    if (prev && g_ptr_array_find(arena.blocks, prev, &i))
        i++;
    return i < arena.blocks->len ? arena.blocks->pdata[i] : NULL;
}

/* ---- flags ---- */

/* Both bytes at once: the high one never says "none" while there are some. Returns what the flags were. */
static unsigned change_flags(size_t page, unsigned set, unsigned clear)
{
    uint16_t old = __atomic_load_n(&viv_arena_flags[page], __ATOMIC_RELAXED), new;

    do {
        new = (uint16_t)(((old & ~clear) | set) & VIV_PAGE_FLAGS);
        if (!new)
            new = VIV_PAGE_QUIET;
    } while (!__atomic_compare_exchange_n(&viv_arena_flags[page], &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return old & VIV_PAGE_FLAGS;
}

void viv_ram_quiet(size_t page)
{
    if (!__atomic_load_n(&viv_arena_flags[page], __ATOMIC_RELAXED))
        change_flags(page, 0, 0);
}

/* ---- decoded code ---- */

static void all_threads_barrier(void)
{
    if (arena.expedited)
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    else
        syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

void viv_ram_set_vcpu_count(unsigned n)
{
    arena.vcpus = n;
}

/* The lock makes "flag already set" mean "and its barrier is over": two vCPUs that decode the same
 * page would otherwise let the second one read before the first one's barrier has run. */
uint32_t viv_ram_mark_code(const void *hva)
{
    size_t page = viv_arena_page(hva);
    uint32_t version = __atomic_load_n(&viv_arena_version[page], __ATOMIC_SEQ_CST);

    if (arena.vcpus == 1) {
        change_flags(page, VIV_PAGE_CODE, 0);
        return version;
    }
    pthread_mutex_lock(&arena.code_lock);
    if (!(change_flags(page, VIV_PAGE_CODE, 0) & VIV_PAGE_CODE))
        all_threads_barrier();
    pthread_mutex_unlock(&arena.code_lock);
    return version;
}

void viv_ram_set_code_listener(void (*changed)(size_t page))
{
    __atomic_store_n(&arena.code_changed, changed, __ATOMIC_RELEASE);
}

static bool page_written(size_t page)
{
    unsigned old = change_flags(page, 0, VIV_PAGE_CODE | VIV_PAGE_CLEAN_LOG);
    void (*changed)(size_t);

    if (!(old & VIV_PAGE_CODE))
        return false;
    __atomic_fetch_add(&viv_arena_version[page], 1, __ATOMIC_SEQ_CST);
    changed = __atomic_load_n(&arena.code_changed, __ATOMIC_ACQUIRE);
    if (changed)
        changed(page);
    return true;
}

bool viv_ram_store_slow(void *hva, size_t len)
{
    size_t first = viv_arena_page(hva), last = viv_arena_page((uint8_t *)hva + len - 1);
    bool code = false;

    for (size_t p = first; p <= last; p++) {
        if (viv_page_flags(p))
            code |= page_written(p);
    }
    return code;
}

void viv_ram_written(void *hva, size_t len)
{
    if (!len)
        return;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    viv_ram_store_slow(hva, len);
}

/* ---- dirty log ---- */

void viv_ram_set_log_source(const struct viv_ram_log_source *src)
{
    arena.log = src;
}

/* A client's own bitmap holds what others' syncs have found since its last one. `fresh`, as large, is where a sync collects. */
struct viv_ram_log {
    struct viv_ram *ram;
    struct viv_ram_log *next;
    unsigned long *dirty, *fresh;
};

static size_t log_words(const struct viv_ram *ram)
{
    const size_t bits = 8 * sizeof(unsigned long);

    return ((ram->size >> VIV_PAGE_SHIFT) + bits - 1) / bits;
}

static void merge(unsigned long *to, const unsigned long *from, size_t words)
{
    for (size_t i = 0; i < words; i++)
        to[i] |= from[i];
}

/* Moves what was written into the bitmaps of all clients, by way of one client's `fresh`. */
static int collect(struct viv_ram_log *log)
{
    const unsigned bits = 8 * sizeof(*log->fresh);
    struct viv_ram *ram = log->ram;
    size_t first = viv_arena_page(ram->hva), n = ram->size >> VIV_PAGE_SHIFT;
    int r;

    memset(log->fresh, 0, log_words(ram) * sizeof(*log->fresh));
    r = arena.log ? arena.log->sync(arena.log->opaque, ram, log->fresh) : 0;
    for (size_t i = 0; i < n; i++) {
        if ((viv_page_flags(first + i) & VIV_PAGE_CLEAN_LOG) ||
            (change_flags(first + i, VIV_PAGE_CLEAN_LOG, 0) & VIV_PAGE_CLEAN_LOG))
            continue;
        log->fresh[i / bits] |= 1ul << (i % bits);
    }
    /* What a source that failed half-way has told is not told again. */
    for (struct viv_ram_log *l = ram->logs; l; l = l->next)
        merge(l->dirty, log->fresh, log_words(ram));
    return r;
}

static int first_start(struct viv_ram *ram)
{
    size_t first = viv_arena_page(ram->hva), n = ram->size >> VIV_PAGE_SHIFT;
    int r = arena.log ? arena.log->start(arena.log->opaque, ram) : 0;

    if (r < 0)
        return r;
    for (size_t p = first; p < first + n; p++)
        change_flags(p, VIV_PAGE_CLEAN_LOG, 0);
    all_threads_barrier();
    return 0;
}

static void log_free(struct viv_ram_log *log)
{
    g_free(log->dirty);
    g_free(log->fresh);
    g_free(log);
}

int viv_ram_log_start(struct viv_ram *ram, struct viv_ram_log **out)
{
    struct viv_ram_log *log = g_new0(struct viv_ram_log, 1);
    int r;

    log->ram = ram;
    log->dirty = g_try_malloc0_n(log_words(ram), sizeof(*log->dirty));
    log->fresh = g_try_malloc0_n(log_words(ram), sizeof(*log->fresh));
    if (!log->dirty || !log->fresh)
        r = -ENOMEM;
    else
        r = ram->logs ? collect(log) : first_start(ram);
    if (r < 0) {
        log_free(log);
        return r;
    }
    log->next = ram->logs;
    ram->logs = log;
    *out = log;
    return 0;
}

int viv_ram_log_sync(struct viv_ram_log *log, unsigned long *bitmap)
{
    size_t words = log_words(log->ram);
    int r = collect(log);

    if (r < 0)
        return r;
    merge(bitmap, log->dirty, words);
    memset(log->dirty, 0, words * sizeof(*log->dirty));
    /* A store that saw the page as dirty already may still be on its way to memory. */
    all_threads_barrier();
    return 0;
}

void viv_ram_log_stop(struct viv_ram_log *log)
{
    struct viv_ram *ram;

    if (!log)
        return;
    ram = log->ram;
    for (struct viv_ram_log **l = &ram->logs; *l; l = &(*l)->next) {
        if (*l == log) {
            *l = log->next;
            break;
        }
    }
    log_free(log);
    if (ram->logs)
        return;
    for (size_t p = viv_arena_page(ram->hva), end = p + (ram->size >> VIV_PAGE_SHIFT); p < end; p++)
        change_flags(p, 0, VIV_PAGE_CLEAN_LOG);
    if (arena.log)
        arena.log->stop(arena.log->opaque, ram);
}
