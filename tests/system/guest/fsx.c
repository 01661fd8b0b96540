/* Random reads, writes, truncations, mappings, closes and syncs of one file, each checked against a copy in memory: what fsx (Avadis
 * Tevanian's file system exerciser) does. fsx FILE OPERATIONS SEED [mmap]: with "mmap" it writes through shared mappings too. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 300000, LEN = 70000 };

static unsigned char model[MOST], buf[LEN];
static off_t size;
static const char *name;
static int fd;
static unsigned long step;

static void die(const char *what, off_t at, size_t len)
{
    printf("fsx: step %lu: %s at %ld, %zu bytes, size %ld: %s\n", step, what, (long)at, len, (long)size, strerror(errno));
    exit(1);
}

static void compare(const char *what, const unsigned char *got, off_t at, size_t len)
{
    errno = 0;
    for (size_t i = 0; i < len; i++) {
        if (got[i] != model[at + i]) {
            printf("fsx: byte %ld is %02x, not %02x\n", (long)(at + i), got[i], model[at + i]);
            die(what, at, len);
        }
    }
}

static void do_read(off_t at, size_t len)
{
    ssize_t n = pread(fd, buf, len, at);
    ssize_t want = at >= size ? 0 : (off_t)len < size - at ? (ssize_t)len : (ssize_t)(size - at);

    if (n != want)
        die("read gave another length", at, n < 0 ? 0 : n);
    compare("read", buf, at, n);
}

static void grow(off_t end)
{
    if (end > size) {
        memset(model + size, 0, end - size);
        size = end;
    }
}

static void fill(unsigned char *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (unsigned char)(step + i * 7);
}

static void do_write(off_t at, size_t len)
{
    grow(at + (off_t)len);
    fill(model + at, len);
    if (pwrite(fd, model + at, len, at) != (ssize_t)len)
        die("write", at, len);
}

static void do_truncate(off_t to)
{
    if (to < size)
        size = to;
    grow(to);
    if (ftruncate(fd, to) < 0)
        die("truncate", to, 0);
}

static void do_map(off_t at, size_t len, int writing)
{
    off_t start = at & ~4095;
    unsigned char *p;

    if (at >= size)
        return;
    if ((off_t)len > size - at)
        len = size - at;
    p = mmap(NULL, len + (at - start), PROT_READ | (writing ? PROT_WRITE : 0), writing ? MAP_SHARED : MAP_PRIVATE, fd, start);
    if (p == MAP_FAILED)
        die("mmap", at, len);
    if (writing) {
        fill(model + at, len);
        memcpy(p + (at - start), model + at, len);
        if (msync(p, len + (at - start), MS_SYNC) < 0)
            die("msync", at, len);
    } else {
        compare("mapped read", p + (at - start), at, len);
    }
    munmap(p, len + (at - start));
}

static void open_again(void)
{
    if (close(fd) < 0)
        die("close", 0, 0);
    fd = open(name, O_RDWR);
    if (fd < 0)
        die("open", 0, 0);
}

static void check_size(void)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || st.st_size != size)
        die("fstat gave another size", st.st_size, 0);
}

int main(int argc, char **argv)
{
    unsigned long count;
    int mmaps;

    if (argc < 4)
        return 2;
    name = argv[1];
    count = strtoul(argv[2], NULL, 0);
    srandom((unsigned)strtoul(argv[3], NULL, 0));
    mmaps = argc > 4;
    fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        die("create", 0, 0);
    for (step = 0; step < count; step++) {
        off_t at = random() % (MOST - LEN);
        size_t len = 1 + random() % (random() % 4 ? 5000 : LEN - 1);

        switch (random() % 10) {
        case 0:
        case 1:
        case 2:
            do_write(at, len);
            break;
        case 3:
        case 4:
        case 5:
            do_read(at, len);
            break;
        case 6:
            do_truncate(random() % MOST);
            break;
        case 7:
            do_map(at, len, mmaps && random() % 2);
            break;
        case 8:
            check_size();
            break;
        default:
            if (random() % 2)
                open_again();
            else if (fsync(fd) < 0)
                die("fsync", 0, 0);
        }
    }
    open_again();
    for (off_t at = 0; at < size; at += LEN)
        do_read(at, LEN);
    printf("fsx: all %lu operations agree\n", count);
    return 0;
}
