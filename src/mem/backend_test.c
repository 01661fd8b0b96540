/* Memory back ends: what lies in the file, what is refused and what the error says. */
#include "mem/backend.h"

#include "base/units.h"
#include "mem/holes.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *dir;

static int make(const struct viv_opt_def *def, int (*add)(struct viv_opts *o, struct viv_err *err), struct viv_err *err, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    struct viv_opts *o = NULL;
    va_list ap;
    int rc;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    rc = viv_opts_parse("-object", def, NULL, text, &o, err);
    if (rc < 0)
        return rc;
    rc = add(o, err);
    viv_opts_free(o);
    return rc;
}
#define FILE_(...) make(viv_mem_file_opts, viv_mem_file_add, &err, __VA_ARGS__)
#define RAM_(...) make(viv_mem_ram_opts, viv_mem_ram_add, &err, __VA_ARGS__)
#define MEMFD_(...) make(viv_mem_memfd_opts, viv_mem_memfd_add, &err, __VA_ARGS__)

static int map(const char *id, struct viv_ram **ram, struct viv_err *err)
{
    struct viv_mem_backend *b = viv_mem_backend_find(id);

    g_assert_nonnull(b);
    return viv_mem_backend_map(b, id, ram, err);
}

#define REFUSED(rc, word)                                                                                              \
    do {                                                                                                               \
        g_assert_cmpint(rc, <, 0);                                                                                     \
        g_assert_nonnull(strstr(err.text, word));                                                                      \
        viv_err_clear(&err);                                                                                           \
    } while (0)

static void test_file(void)
{
    g_autofree char *path = g_build_filename(dir, "shared", NULL);
    struct viv_err err = VIV_ERR_INIT;
    struct viv_ram *ram;
    char back[6] = "";
    int fd;

    g_assert_cmpint(FILE_("id=f1,size=4M,mem-path=%s,share=on", path), ==, 0);
    g_assert_cmpuint(viv_mem_backend_size(viv_mem_backend_find("f1")), ==, 4 * VIV_MIB);
    g_assert_cmpint(map("f1", &ram, &err), ==, 0);
    g_assert_cmpuint(ram->size, ==, 4 * VIV_MIB);
    memcpy(ram->hva + 3 * VIV_MIB, "hello", 5);
    fd = open(path, O_RDWR);
    g_assert_cmpint(pread(fd, back, 5, 3 * VIV_MIB), ==, 5);
    g_assert_cmpstr(back, ==, "hello");
    REFUSED(map("f1", &ram, &err), "in use");
    /* private: what is written does not reach the file, what is there is seen */
    g_assert_cmpint(FILE_("id=f2,size=4M,mem-path=%s,readonly=on", path), ==, 0);
    g_assert_cmpint(map("f2", &ram, &err), ==, 0);
    g_assert_cmpint(ram->fd, ==, -1);
    g_assert_cmpint(ram->below, >=, 0);
    g_assert_cmpmem(ram->hva + 3 * VIV_MIB, 5, "hello", 5);
    memcpy(ram->hva + 3 * VIV_MIB, "other", 5);
    g_assert_cmpint(pread(fd, back, 5, 3 * VIV_MIB), ==, 5);
    g_assert_cmpstr(back, ==, "hello");
    close(fd);
    /* another size than that of a file which holds something */
    g_assert_cmpint(FILE_("id=f3,size=8M,mem-path=%s", path), ==, 0);
    REFUSED(map("f3", &ram, &err), "4194304 bytes");
    g_assert_cmpint(FILE_("id=f4,size=2M,mem-path=%s/no/such", path), ==, 0);
    REFUSED(map("f4", &ram, &err), "no/such");
    /* a folder: a file that nobody sees */
    g_assert_cmpint(FILE_("id=f5,size=2M,mem-path=%s,align=1G", dir), ==, 0);
    g_assert_cmpint(map("f5", &ram, &err), ==, 0);
    g_assert_cmpuint((uintptr_t)ram->hva % VIV_GIB, ==, 0);
    g_assert_cmpint(ram->hva[0] | ram->hva[ram->size - 1], ==, 0);
}

static void expect_data(const struct viv_ram *ram, uint64_t at, uint64_t from, uint64_t end)
{
    uint64_t f = 1, e = 1;

    viv_ram_next_data(ram, at, &f, &e);
    g_assert_cmpuint(f, ==, from);
    g_assert_cmpuint(e, ==, end);
}

static void test_holes(void)
{
    const uint64_t size = 4 * VIV_MIB, page = VIV_PAGE_SIZE;
    struct viv_err err = VIV_ERR_INIT;
    struct viv_ram *ram;

    /* Huge pages of shared memory, if the host gives them, would have other edges than what is written. */
    g_assert_cmpint(MEMFD_("id=h1,size=4M"), ==, 0);
    g_assert_cmpint(map("h1", &ram, &err), ==, 0);
    g_assert_cmpint(madvise(ram->hva, ram->size, MADV_NOHUGEPAGE), ==, 0);
    expect_data(ram, 0, size, size);
    ram->hva[5 * page + 1] = ram->hva[6 * page] = ram->hva[size - 1] = 1;
    expect_data(ram, 0, 5 * page, 7 * page);
    expect_data(ram, 6 * page, 6 * page, 7 * page);
    expect_data(ram, 7 * page, size - page, size);
    /* not a file; a file that is larger */
    g_assert_cmpint(RAM_("id=h2,size=4M"), ==, 0);
    g_assert_cmpint(map("h2", &ram, &err), ==, 0);
    expect_data(ram, page, page, size);
    g_assert_cmpint(MEMFD_("id=h3,size=4M,share=off,seal=off"), ==, 0);
    g_assert_cmpint(map("h3", &ram, &err), ==, 0);
    g_assert_cmpint(ftruncate(ram->below, (off_t)(2 * size)), ==, 0);
    g_assert_cmpint(pwrite(ram->below, "x", 1, (off_t)size), ==, 1);
    expect_data(ram, 0, size, size);
}

static void test_prealloc(void)
{
    struct viv_err err = VIV_ERR_INIT;
    unsigned char in[512] = {0};
    struct viv_ram *ram;

    g_assert_cmpint(RAM_("id=r1,size=2050k,prealloc=on,prealloc-threads=3"), <, 0); /* no multiple of 4096 */
    viv_err_clear(&err);
    g_assert_cmpint(RAM_("id=r1,size=2M,prealloc=on,prealloc-threads=3"), ==, 0);
    g_assert_cmpint(map("r1", &ram, &err), ==, 0);
    g_assert_cmpint(mincore(ram->hva, ram->size, in), ==, 0);
    for (unsigned i = 0; i < 512; i++)
        g_assert_cmpint(in[i] & 1, ==, 1);
}

/* Kernels before 5.14 do not know it. */
static bool old_kernel;
static const char *shrinks; /* a file that somebody else makes smaller meanwhile */

int madvise(void *p, size_t len, int advice)
{
    if (advice == 23 && shrinks)
        g_assert_cmpint(truncate(shrinks, 4096), ==, 0);
    if (advice == 23 && old_kernel) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_madvise, p, len, advice);
}

static void test_prealloc_old(void)
{
    g_autofree char *path = g_build_filename(dir, "shrinks", NULL);
    struct viv_err err = VIV_ERR_INIT;
    unsigned char in[512] = {0};
    struct viv_ram *ram;

    old_kernel = true;
    g_assert_cmpint(MEMFD_("id=o1,size=2M,prealloc=on,prealloc-threads=3"), ==, 0);
    g_assert_cmpint(map("o1", &ram, &err), ==, 0);
    g_assert_cmpint(mincore(ram->hva, ram->size, in), ==, 0);
    for (unsigned i = 0; i < 512; i++)
        g_assert_cmpint(in[i] & 1, ==, 1);
    /* What cannot be had is an error, and the new file goes. */
    shrinks = path;
    g_assert_cmpint(FILE_("id=o2,size=2M,prealloc=on,share=on,mem-path=%s", path), ==, 0);
    REFUSED(map("o2", &ram, &err), "prealloc");
    viv_mem_backends_abandon();
    g_assert_cmpint(access(path, F_OK), <, 0);
    old_kernel = false;
    shrinks = NULL;
}

static void test_memfd(void)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_ram *ram;
    uint8_t back = 0;

    g_assert_cmpint(MEMFD_("id=m1,size=2M"), ==, 0);
    g_assert_cmpint(map("m1", &ram, &err), ==, 0);
    g_assert_cmpint(ram->fd, >=, 0);
    ram->hva[77] = 5;
    g_assert_cmpint(pread(ram->fd, &back, 1, 77), ==, 1);
    g_assert_cmpint(back, ==, 5);
    g_assert_cmpint(ftruncate(ram->fd, 4096), <, 0); /* sealed */
    g_assert_cmpint(RAM_("id=m2,size=2M,share=on"), ==, 0);
    g_assert_cmpint(map("m2", &ram, &err), ==, 0);
    g_assert_cmpint(ram->fd, >=, 0);
    REFUSED(MEMFD_("id=m3,size=3M,hugetlb=on,hugetlbsize=2M"), "multiple");
    REFUSED(MEMFD_("id=m3,size=4M,hugetlbsize=2M"), "hugetlb=on");
    REFUSED(MEMFD_("id=m3,size=4M,hugetlb=on,hugetlbsize=3M"), "no size of huge pages");
    REFUSED(MEMFD_("id=m1,size=4M"), "already");
    /* a terabyte of huge pages: no host of ours has set them aside */
    g_assert_cmpint(MEMFD_("id=m4,size=512G,hugetlb=on"), ==, 0);
    REFUSED(map("m4", &ram, &err), "huge");
}

static void test_refused(void)
{
    struct viv_err err = VIV_ERR_INIT;

    REFUSED(RAM_("id=x,size=0"), "4096");
    REFUSED(RAM_("size=1M"), "id");
    REFUSED(RAM_("id=x,size=1M,policy=bind"), "numactl");
    REFUSED(RAM_("id=x,size=1M,x-use-canonical-path-for-ramblock-id=on"), "leave it out");
    REFUSED(FILE_("id=x,size=1M"), "mem-path");
    REFUSED(FILE_("id=x,size=1M,mem-path=/x,share=on,readonly=on"), "exclude");
    REFUSED(FILE_("id=x,size=1M,mem-path=/x,align=3M"), "power of two");
    g_assert_null(viv_mem_backend_find("x"));
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("viv-mem-XXXXXX", NULL);
    g_test_add_func("/mem-backend/file", test_file);
    g_test_add_func("/mem-backend/holes", test_holes);
    g_test_add_func("/mem-backend/prealloc", test_prealloc);
    g_test_add_func("/mem-backend/prealloc-old", test_prealloc_old);
    g_test_add_func("/mem-backend/memfd", test_memfd);
    g_test_add_func("/mem-backend/refused", test_refused);
    rc = g_test_run();
    {
        g_autofree char *shared = g_build_filename(dir, "shared", NULL);

        g_unlink(shared);
    }
    g_rmdir(dir);
    g_free(dir);
    return rc;
}
