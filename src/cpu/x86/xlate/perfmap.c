#include "cpu/x86/xlate/perfmap.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int map_fd = -1; /* atomic: any vCPU gives it up when it cannot be written */

/* /tmp is everybody's and a process id comes back. A file of that name that is ours is of a process that has ended; one of
 * another user's would have its owner read what this guest runs, and a link would have us write to where it points. */
static int make(const char *path)
{
    const int flags = O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = open(path, flags, 0600);
    struct stat st;

    if (fd >= 0 || errno != EEXIST)
        return fd;
    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || unlink(path) < 0) {
        errno = EEXIST;
        return -1;
    }
    return open(path, flags, 0600);
}

int viv_xlate_perfmap_open(struct viv_err *err)
{
    char path[64];

    snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
    map_fd = make(path);
    if (map_fd < 0)
        return viv_fail_os(err, errno, "-accel xlate,perfmap=on: cannot make %s", path);
    return 0;
}

/* One write of a whole line: lines of several vCPUs do not mix, and a process that is killed leaves all of them. */
void viv_xlate_perfmap_add(const void *host, size_t n, uint64_t guest_rip)
{
    int fd = __atomic_load_n(&map_fd, __ATOMIC_RELAXED);
    char line[96];
    int len;

    if (fd < 0)
        return;
    len = snprintf(line, sizeof(line), "%" PRIxPTR " %zx guest:0x%" PRIx64 "\n", (uintptr_t)host, n, guest_rip);
    if (write(fd, line, (size_t)len) == len)
        return;
    if (__atomic_exchange_n(&map_fd, -1, __ATOMIC_RELAXED) >= 0)
        viv_warn("the perf map is not complete: %s", strerror(errno));
}
