/* RAM in saved state: per block its name and size, then runs of pages that are not all zero. */
#include "machine/vm_stream.h"

#include "base/checked.h"
#include "mem/holes.h"
#include "mem/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_NAME 4096
#define RUN_END  UINT64_MAX

static bool page_is_zero(const uint8_t *p)
{
    const uint64_t *w = (const uint64_t *)p;

    for (size_t i = 0; i < VIV_PAGE_SIZE / 8; i += 4) {
        if (w[i] | w[i + 1] | w[i + 2] | w[i + 3])
            return false;
    }
    return true;
}

/* Pages the kernel never gave us are zero (with a file: in its holes), and looking at them would make them real: /proc/self/pagemap
 * tells, 512 pages at a time. Where it cannot be read every page is looked at. */
struct stretch {
    uint64_t from, end; /* bytes of a block that its file holds */
};

struct page_map {
    int fd;
    uint64_t first; /* page number of entry[0] */
    size_t count;
    uint64_t entry[512];
};

static bool page_untouched(struct page_map *m, const uint8_t *hva)
{
    uint64_t page = (uintptr_t)hva / VIV_PAGE_SIZE;

    if (m->fd < 0)
        return false;
    if (page < m->first || page >= m->first + m->count) {
        ssize_t n = pread(m->fd, m->entry, sizeof(m->entry), page * 8);

        if (n <= 0) {
            close(m->fd);
            m->fd = -1;
            return false;
        }
        m->first = page;
        m->count = n / 8;
    }
    return !(m->entry[page - m->first] >> 62); /* neither present nor swapped */
}

/* What a shared file holds may be others' writing, which is not in our page table. */
static bool untouched(const struct viv_ram *ram, uint64_t at, struct page_map *map, struct stretch *data)
{
    if (ram->fd < 0 && !page_untouched(map, ram->hva + at))
        return false;
    if (ram->fd < 0 && ram->below < 0)
        return true;
    if (at >= data->end)
        viv_ram_next_data(ram, at, &data->from, &data->end);
    return at < data->from;
}

static void save_block(struct viv_vm_stream *s, const struct viv_ram *ram, struct page_map *map, _Atomic uint64_t *done)
{
    uint64_t pages = ram->size / VIV_PAGE_SIZE, start = 0;
    size_t name_len = strlen(ram->name);
    struct stretch data = {0};

    viv_vm_stream_put_u64(s, name_len);
    viv_vm_stream_put(s, ram->name, name_len);
    viv_vm_stream_put_u64(s, ram->size);
    for (uint64_t i = 0; i <= pages; i++) {
        uint64_t at = i * VIV_PAGE_SIZE;
        bool end = i == pages || untouched(ram, at, map, &data) || page_is_zero(ram->hva + at);

        if (end && i > start) {
            viv_vm_stream_put_u64(s, start);
            viv_vm_stream_put_u64(s, i - start);
            viv_vm_stream_put(s, ram->hva + start * VIV_PAGE_SIZE, (i - start) * VIV_PAGE_SIZE);
        }
        if (end)
            start = i + 1;
        if (i < pages)
            atomic_fetch_add_explicit(done, VIV_PAGE_SIZE, memory_order_relaxed);
    }
    viv_vm_stream_put_u64(s, RUN_END);
}

/* Copies: a block may go while they are written, its place in the arena stays. */
void viv_vm_list_ram(struct viv_vm_picture *p)
{
    p->blocks = g_array_new(false, false, sizeof(struct viv_ram));
    for (struct viv_ram *r = viv_ram_next(NULL); r; r = viv_ram_next(r)) {
        struct viv_ram copy = *r;

        copy.name = g_strdup(r->name);
        g_array_append_val(p->blocks, copy);
        p->ram += r->size;
    }
}

void viv_vm_save_ram(struct viv_vm_stream *s, struct viv_vm_picture *p)
{
    struct page_map map = {.fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)};

    for (guint i = 0; i < p->blocks->len; i++)
        save_block(s, &g_array_index(p->blocks, struct viv_ram, i), &map, &p->ram_done);
    if (map.fd >= 0)
        close(map.fd);
    viv_vm_stream_put_u64(s, 0); /* no more names */
}

/* What the stream does not list is zero. A private mapping shows its file again where it is dropped, and not all memory can be
 * dropped. */
static void clear_block(struct viv_ram *ram)
{
    bool dropped = madvise(ram->hva, ram->size, ram->fd < 0 ? MADV_DONTNEED : MADV_REMOVE) == 0;
    uint64_t from, end = 0;

    if (dropped && ram->below < 0)
        return;
    if (!dropped && ram->fd < 0) {
        memset(ram->hva, 0, ram->size);
        return;
    }
    while (end < ram->size) {
        viv_ram_next_data(ram, end, &from, &end);
        memset(ram->hva + from, 0, end - from);
    }
}

/* NULL: they are passed over. */
static int get_pages(struct viv_vm_stream *s, uint8_t *hva, uint64_t len, struct viv_err *err)
{
    return hva ? viv_vm_stream_get(s, hva, len, err) : viv_vm_stream_skip(s, len, err);
}

static int load_runs(struct viv_vm_stream *s, struct viv_ram *ram, bool check, struct viv_err *err)
{
    uint64_t pages = ram->size / VIV_PAGE_SIZE, next = 0, start, count;
    int rc;

    for (;;) {
        rc = viv_vm_stream_get_u64(s, &start, err);
        if (rc < 0 || start == RUN_END)
            return rc;
        rc = viv_vm_stream_get_u64(s, &count, err);
        if (rc < 0)
            return rc;
        if (start < next || !viv_range_inside(start, count, pages))
            return viv_fail(err, EINVAL, "saved state: pages outside of RAM block '%s'", ram->name);
        rc = get_pages(s, check ? NULL : ram->hva + start * VIV_PAGE_SIZE, count * VIV_PAGE_SIZE, err);
        if (rc < 0)
            return rc;
        next = start + count;
    }
}

/* By name, not by order: a device that was plugged in while the machine ran may be made earlier here. Of those of one name the first
 * that was not met yet. */
static struct viv_ram *find_block(GHashTable *met, const char *name)
{
    struct viv_ram *ram = viv_ram_next(NULL);

    while (ram && (g_hash_table_contains(met, ram) || strcmp(ram->name, name)))
        ram = viv_ram_next(ram);
    return ram;
}

static int load_block(struct viv_vm_stream *s, size_t name_len, GHashTable *met, bool check, struct viv_err *err)
{
    g_autofree char *name = g_malloc0(name_len + 1);
    struct viv_ram *ram;
    uint64_t size;
    int rc = viv_vm_stream_get(s, name, name_len, err);

    if (!rc)
        rc = viv_vm_stream_get_u64(s, &size, err);
    if (rc < 0)
        return rc;
    ram = find_block(met, name);
    if (!ram)
        return viv_fail(err, EINVAL, "saved state has RAM block '%.150s', this machine has none of that name", name);
    if (size != ram->size)
        return viv_fail(err, EINVAL, "saved state has RAM block '%.150s' of %" PRIu64 " bytes, here it has %" PRIu64, name, size, ram->size);
    g_hash_table_add(met, ram);
    if (check)
        return load_runs(s, ram, true, err);
    clear_block(ram);
    rc = load_runs(s, ram, false, err);
    viv_ram_written(ram->hva, ram->size);
    return rc;
}

/* What is here and was not saved. */
static int one_too_many(GHashTable *met, struct viv_err *err)
{
    for (struct viv_ram *r = viv_ram_next(NULL); r; r = viv_ram_next(r)) {
        if (!g_hash_table_contains(met, r))
            return viv_fail(err, EINVAL, "saved state lacks RAM block '%s'", r->name);
    }
    return 0;
}

int viv_vm_load_ram(struct viv_vm_stream *s, bool check, struct viv_err *err)
{
    g_autoptr(GHashTable) met = g_hash_table_new(NULL, NULL);
    uint64_t name_len;
    int rc;

    for (;;) {
        rc = viv_vm_stream_get_u64(s, &name_len, err);
        if (rc < 0)
            return rc;
        if (!name_len)
            return one_too_many(met, err);
        if (name_len > MAX_NAME)
            return viv_fail(err, EINVAL, "saved state: a RAM block's name is too long");
        rc = load_block(s, name_len, met, check, err);
        if (rc < 0)
            return rc;
    }
}

/* ---- what a load that fails must not change ---- */

struct kept_rom {
    struct viv_ram *ram;
    uint8_t *was;
};

GArray *viv_vm_keep_roms(void)
{
    GArray *kept = g_array_new(false, false, sizeof(struct kept_rom));

    for (struct viv_ram *r = viv_ram_next(NULL); r; r = viv_ram_next(r)) {
        struct kept_rom k = {r, r->keeps ? g_memdup2(r->hva, r->size) : NULL};

        if (k.was)
            g_array_append_val(kept, k);
    }
    return kept;
}

void viv_vm_put_roms_back(GArray *kept)
{
    for (guint i = 0; i < kept->len; i++) {
        struct kept_rom *k = &g_array_index(kept, struct kept_rom, i);

        memcpy(k->ram->hva, k->was, k->ram->size);
        viv_ram_written(k->ram->hva, k->ram->size);
    }
}

void viv_vm_drop_roms(GArray *kept)
{
    for (guint i = 0; i < kept->len; i++)
        g_free(g_array_index(kept, struct kept_rom, i).was);
    g_array_free(kept, true);
}
