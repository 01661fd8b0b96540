/* Memory back ends: anonymous memory, files (hugetlbfs and /dev/shm among them), memfds. */
#include "mem/backend.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/units.h"
#include "host/open.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

enum kind { KIND_RAM, KIND_FILE, KIND_MEMFD };

struct viv_mem_backend {
    enum kind kind;
    char *id, *path;
    uint64_t size, align, huge; /* huge: bytes of a page of hugetlb memory, 0: the host's usual one, or none */
    bool share, prealloc, merge, reserve, readonly, hugetlb, seal;
    enum { DUMP_UNSAID, DUMP_ON, DUMP_OFF } dump;
    unsigned threads; /* of prealloc */
    bool used;
    bool made; /* the file at `path` was not there before */
    struct viv_mem_backend *next;
};

static struct viv_mem_backend *backends;

struct viv_mem_backend *viv_mem_backend_find(const char *id)
{
    struct viv_mem_backend *b = backends;

    while (b && strcmp(b->id, id))
        b = b->next;
    return b;
}

bool viv_mem_backend_dump(const struct viv_mem_backend *b, bool unsaid)
{
    return b->dump == DUMP_UNSAID ? unsaid : b->dump == DUMP_ON;
}

struct viv_mem_backend *viv_mem_backend_next(struct viv_mem_backend *b)
{
    return b ? b->next : backends;
}

void viv_mem_backend_facts(const struct viv_mem_backend *b, struct viv_mem_facts *out)
{
    *out = (struct viv_mem_facts){.id = b->id, .size = b->size, .share = b->share, .prealloc = b->prealloc, .merge = b->merge, .reserve = b->reserve};
}

uint64_t viv_mem_backend_size(const struct viv_mem_backend *b)
{
    return b->size;
}

/* ---- options ---- */

#define COMMON(shared)                                                                                                             \
    {.name = "id", .type = VIV_OPT_STR, .required = true, .help = "name for -machine memory-backend="},                            \
        {.name = "size", .type = VIV_OPT_SIZE, .required = true, .help = "bytes; the same as -m"},                                 \
        {.name = "share", .type = VIV_OPT_BOOL, .def = shared, .help = "other processes may see what the guest writes"},           \
        {.name = "prealloc", .type = VIV_OPT_BOOL, .help = "all of it is taken from the host at once"},                            \
        {.name = "prealloc-threads", .type = VIV_OPT_INT, .def = "1", .min = 1, .max = 64, .help = "so many do that"},             \
        {.name = "dump", .type = VIV_OPT_BOOL, .help = "it is in core dumps of this process"},                                     \
        {.name = "merge", .type = VIV_OPT_BOOL, .help = "the host may merge equal pages (KSM)"},                                   \
        {.name = "reserve", .type = VIV_OPT_BOOL, .def = "on", .help = "swap space or huge pages are set aside for it"},           \
        {.name = "host-nodes", .type = VIV_OPT_REFUSED, .help = "start it under numactl --membind"},                               \
        {.name = "policy", .type = VIV_OPT_REFUSED, .help = "start it under numactl"},                                             \
        {.name = "prealloc-context", .type = VIV_OPT_REFUSED, .help = "there are no thread contexts; leave it out"},               \
    {                                                                                                                              \
        .name = "x-use-canonical-path-for-ramblock-id", .type = VIV_OPT_BOOL, .help = "off: the block's name is the board's"       \
    }

const struct viv_opt_def viv_mem_ram_opts[] = {COMMON("off"), VIV_OPT_END};
const struct viv_opt_def viv_mem_file_opts[] = {
    COMMON("off"),
    {.name = "mem-path", .type = VIV_OPT_STR, .required = true, .help = "the file, or a folder (of hugetlbfs) to make one in"},
    {.name = "align", .type = VIV_OPT_SIZE, .help = "of the mapping: a power of two"},
    {.name = "readonly", .type = VIV_OPT_BOOL, .help = "the file is only read; what is written stays here (share=off)"},
    {.name = "discard-data", .type = VIV_OPT_REFUSED, .help = "what was written stays in the file; remove it, or name a folder"},
    {.name = "pmem", .type = VIV_OPT_REFUSED, .help = "there are no NVDIMMs yet"},
    VIV_OPT_END,
};
const struct viv_opt_def viv_mem_memfd_opts[] = {
    COMMON("on"),
    {.name = "hugetlb", .type = VIV_OPT_BOOL, .help = "of huge pages that the host has set aside"},
    {.name = "hugetlbsize", .type = VIV_OPT_SIZE, .help = "their size (2M, 1G)"},
    {.name = "seal", .type = VIV_OPT_BOOL, .def = "on", .help = "nobody can change its size"},
    VIV_OPT_END,
};

static void append(struct viv_mem_backend *b)
{
    struct viv_mem_backend **end = &backends;

    while (*end)
        end = &(*end)->next;
    *end = b;
}

static void backend_free(struct viv_mem_backend *b)
{
    g_free(b->id);
    g_free(b->path);
    g_free(b);
}

static bool power_of_two(uint64_t n)
{
    return n && !(n & (n - 1));
}

static int check(const struct viv_mem_backend *b, struct viv_err *err)
{
    if (!b->size || b->size % VIV_PAGE_SIZE)
        return viv_fail(err, EINVAL, "size=%" PRIu64 " is not a multiple of 4096", b->size);
    if (b->align && (!power_of_two(b->align) || b->align < VIV_PAGE_SIZE || b->align > VIV_GIB))
        return viv_fail(err, EINVAL, "align=%" PRIu64 " is not a power of two from 4k to 1G", b->align);
    if (b->readonly && b->share)
        return viv_fail(err, EINVAL, "readonly=on and share=on exclude each other: a guest writes its RAM");
    if (b->huge && (!power_of_two(b->huge) || b->huge < VIV_MIB || b->huge > 16 * VIV_GIB))
        return viv_fail(err, EINVAL, "hugetlbsize=%" PRIu64 " is no size of huge pages; try 2M or 1G", b->huge);
    if (b->huge && !b->hugetlb)
        return viv_fail(err, EINVAL, "hugetlbsize= needs hugetlb=on");
    if (b->huge && b->size % b->huge)
        return viv_fail(err, EINVAL, "size is not a multiple of hugetlbsize=%" PRIu64, b->huge);
    if (viv_mem_backend_find(b->id))
        return viv_fail(err, EEXIST, "there is an object '%s' already", b->id);
    return 0;
}

/* Takes b. */
static int add(struct viv_mem_backend *b, struct viv_opts *o, struct viv_err *err)
{
    int rc;

    b->id = g_strdup(viv_opts_str(o, "id"));
    b->size = viv_opts_size(o, "size");
    b->share = viv_opts_bool(o, "share");
    b->prealloc = viv_opts_bool(o, "prealloc");
    b->threads = (unsigned)viv_opts_int(o, "prealloc-threads");
    if (viv_opts_given(o, "dump"))
        b->dump = viv_opts_bool(o, "dump") ? DUMP_ON : DUMP_OFF;
    b->merge = viv_opts_bool(o, "merge");
    b->reserve = viv_opts_bool(o, "reserve");
    rc = check(b, err);
    if (!rc && viv_opts_bool(o, "x-use-canonical-path-for-ramblock-id"))
        rc = viv_fail(err, ENOTSUP, "x-use-canonical-path-for-ramblock-id=on: the block's name in saved state is the board's; leave it out");
    if (rc < 0)
        backend_free(b);
    else
        append(b);
    return rc;
}

int viv_mem_ram_add(struct viv_opts *o, struct viv_err *err)
{
    struct viv_mem_backend *b = g_new0(struct viv_mem_backend, 1);

    b->kind = KIND_RAM;
    return add(b, o, err);
}

int viv_mem_file_add(struct viv_opts *o, struct viv_err *err)
{
    struct viv_mem_backend *b = g_new0(struct viv_mem_backend, 1);

    b->kind = KIND_FILE;
    b->path = g_strdup(viv_opts_str(o, "mem-path"));
    b->align = viv_opts_size(o, "align");
    b->readonly = viv_opts_bool(o, "readonly");
    return add(b, o, err);
}

int viv_mem_memfd_add(struct viv_opts *o, struct viv_err *err)
{
    struct viv_mem_backend *b = g_new0(struct viv_mem_backend, 1);

    b->kind = KIND_MEMFD;
    b->hugetlb = viv_opts_bool(o, "hugetlb");
    b->huge = viv_opts_size(o, "hugetlbsize");
    b->seal = viv_opts_bool(o, "seal");
    return add(b, o, err);
}

struct viv_mem_backend *viv_mem_backend_simple(const char *path, bool prealloc, uint64_t size)
{
    struct viv_mem_backend *b = g_new0(struct viv_mem_backend, 1);

    b->kind = path ? KIND_FILE : KIND_RAM;
    b->id = g_strdup(path ? "-mem-path" : "-mem-prealloc");
    b->path = g_strdup(path);
    b->size = size;
    b->prealloc = prealloc;
    b->threads = 1;
    b->reserve = true;
    append(b);
    return b;
}

/* ---- files ---- */

static int open_temporary(const struct viv_mem_backend *b, struct viv_err *err)
{
    g_autofree char *name = g_build_filename(b->path, "viv-ram-XXXXXX", NULL);
    int fd = mkostemp(name, O_CLOEXEC);

    if (fd < 0)
        return viv_fail_os(err, errno, "memory '%s': no file can be made in %s", b->id, b->path);
    unlink(name);
    return fd;
}

static int open_file(struct viv_mem_backend *b, struct viv_err *err)
{
    struct viv_err exists = VIV_ERR_INIT;
    struct stat st;
    int fd = -1;

    if (stat(b->path, &st) == 0 && S_ISDIR(st.st_mode))
        return b->readonly ? viv_fail(err, EINVAL, "memory '%s': readonly=on needs a file, and %s is a folder", b->id, b->path)
                           : open_temporary(b, err);
    if (!b->readonly)
        fd = viv_open(b->path, O_RDWR | O_CREAT | O_EXCL, 0600, &exists);
    b->made = fd >= 0;
    viv_err_clear(&exists);
    if (fd < 0)
        fd = viv_open(b->path, b->readonly ? O_RDONLY : O_RDWR | O_CREAT, 0600, err);
    if (fd < 0)
        viv_err_prefix(err, "memory '%s'", b->id);
    return fd;
}

/* Bytes of a page of what lies behind fd. */
static uint64_t page_of(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize : VIV_PAGE_SIZE;
}

/* A new file grows to the size; one that holds something is not changed. */
static int fit_file(const struct viv_mem_backend *b, int fd, struct viv_err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return viv_fail_os(err, errno, "memory '%s'", b->id);
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size < b->size) {
        if (st.st_size || b->readonly)
            return viv_fail(err, EINVAL, "memory '%s': file %s has %lld bytes, and size=%" PRIu64 " was asked for: make it as large, or "
                            "remove it", b->id, b->path, (long long)st.st_size, b->size);
        if (ftruncate(fd, (off_t)b->size) < 0)
            return viv_fail_os(err, errno, "memory '%s': %s cannot get %" PRIu64 " bytes", b->id, b->path, b->size);
    }
    return 0;
}

static int make_memfd(const struct viv_mem_backend *b, struct viv_err *err)
{
    unsigned flags = MFD_CLOEXEC | (b->seal ? MFD_ALLOW_SEALING : 0);
    int fd;

    if (b->hugetlb)
        flags |= MFD_HUGETLB | (b->huge ? (unsigned)__builtin_ctzll(b->huge) << MAP_HUGE_SHIFT : 0);
    fd = memfd_create(b->id, flags);
    if (fd < 0)
        return viv_fail_os(err, errno, "memory '%s': the host makes no such memory%s", b->id,
                           b->hugetlb ? " (does it have huge pages of that size? See /sys/kernel/mm/hugepages)" : "");
    if (ftruncate(fd, (off_t)b->size) < 0 ||
        (b->seal && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)) {
        int e = errno;

        close(fd);
        return viv_fail_os(err, e, "memory '%s': a memfd of %" PRIu64 " bytes", b->id, b->size);
    }
    return fd;
}

/* -1: anonymous memory; a smaller number: an error. */
static int open_backing(struct viv_mem_backend *b, struct viv_err *err)
{
    int fd, rc;

    if (b->kind == KIND_RAM && !b->share)
        return -1;
    fd = b->kind == KIND_FILE ? open_file(b, err) : make_memfd(b, err);
    if (fd < 0)
        return MIN(fd, -2); /* no errno is 1 here: EPERM would be -1 */
    rc = b->kind == KIND_FILE ? fit_file(b, fd, err) : 0;
    if (!rc && b->size % page_of(fd))
        rc = viv_fail(err, EINVAL, "memory '%s': size=%" PRIu64 " is not a multiple of the %" PRIu64 " KiB pages of its file system",
                      b->id, b->size, page_of(fd) >> 10);
    if (rc < 0) {
        close(fd);
        return MIN(rc, -2);
    }
    return fd;
}

/* ---- taking it at once ---- */

struct part {
    pthread_t thread;
    uint8_t *from;
    size_t len;
    int error;
};

static __thread sigjmp_buf *no_page; /* where a thread of ours goes on that touches what the host cannot give */

static void on_sigbus(int signo)
{
    if (no_page)
        siglongjmp(*no_page, 1);
    signal(signo, SIG_DFL); /* somebody else's: happens again */
}

/* A kernel before 5.14: byte by byte, as they are. Others may write a shared file at the same time. */
static int touch(uint8_t *from, size_t len)
{
    sigjmp_buf back;

    if (sigsetjmp(back, 1)) {
        no_page = NULL;
        return ENOMEM;
    }
    no_page = &back;
    for (size_t i = 0; i < len; i += VIV_PAGE_SIZE)
        __atomic_fetch_or(from + i, 0, __ATOMIC_RELAXED);
    no_page = NULL;
    return 0;
}

static void *populate(void *opaque)
{
    struct part *p = opaque;

    if (p->len && madvise(p->from, p->len, MADV_POPULATE_WRITE) < 0)
        p->error = errno == EINVAL ? touch(p->from, p->len) : errno;
    return NULL;
}

static int prealloc(const struct viv_mem_backend *b, const struct viv_ram *ram, uint64_t page, struct viv_err *err)
{
    g_autofree struct part *parts = g_new0(struct part, b->threads);
    uint64_t each = viv_align_down(ram->size / b->threads, page);
    struct sigaction bus = {.sa_handler = on_sigbus}, before;
    int error = 0;

    sigaction(SIGBUS, &bus, &before);
    for (unsigned i = 0; i < b->threads; i++) {
        parts[i].from = ram->hva + i * each;
        parts[i].len = i + 1 < b->threads ? each : ram->size - i * each;
        if (i && pthread_create(&parts[i].thread, NULL, populate, &parts[i]) != 0) {
            populate(&parts[i]);
            parts[i].thread = 0;
        }
    }
    populate(&parts[0]);
    for (unsigned i = 0; i < b->threads; i++) {
        if (i && parts[i].thread)
            pthread_join(parts[i].thread, NULL);
        error = error ? error : parts[i].error;
    }
    sigaction(SIGBUS, &before, NULL);
    if (!error)
        return 0;
    return viv_fail_os(err, error, "memory '%s': prealloc: the host does not give %" PRIu64 " MiB%s", b->id, ram->size >> 20,
                       page > VIV_PAGE_SIZE ? " of huge pages (see /proc/sys/vm/nr_hugepages)" : "");
}

static int advise(const struct viv_mem_backend *b, const struct viv_ram *ram, struct viv_err *err)
{
    if (b->merge && madvise(ram->hva, ram->size, MADV_MERGEABLE) < 0)
        return viv_fail_os(err, errno, "memory '%s': merge=on: the host's kernel merges no pages; leave it out", b->id);
    return 0;
}

void viv_mem_backends_abandon(void)
{
    for (struct viv_mem_backend *b = backends; b; b = b->next) {
        if (b->made)
            unlink(b->path);
        b->made = false;
    }
}

void viv_mem_backends_warn(void)
{
    for (const struct viv_mem_backend *b = backends; b; b = b->next) {
        if (!b->used)
            viv_warn("memory '%s' is nobody's: -machine memory-backend=%s makes it the guest's RAM", b->id, b->id);
    }
}

int viv_mem_backend_map(struct viv_mem_backend *b, const char *name, struct viv_ram **out, struct viv_err *err)
{
    struct viv_ram_place place = {.shared = b->share, .reserve = b->reserve, .align = b->align};
    uint64_t page = VIV_PAGE_SIZE;
    int rc;

    if (b->used)
        return viv_fail(err, EBUSY, "memory '%s' is in use already", b->id);
    place.fd = open_backing(b, err);
    if (place.fd < -1)
        return place.fd;
    if (place.fd >= 0)
        page = page_of(place.fd);
    place.align = MAX(place.align, page);
    rc = viv_ram_new_at(name, b->size, &place, out, err);
    if (rc < 0) {
        if (page > VIV_PAGE_SIZE)
            viv_err_prefix(err, "memory '%s' (huge pages: see /proc/sys/vm/nr_hugepages)", b->id);
        else
            viv_err_prefix(err, "memory '%s'", b->id);
        if (place.fd >= 0)
            close(place.fd);
        return rc;
    }
    b->used = true;
    rc = advise(b, *out, err);
    if (!rc && b->prealloc)
        rc = prealloc(b, *out, page, err);
    return rc;
}
