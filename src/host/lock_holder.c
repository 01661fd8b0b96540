/* Whose lock keeps a file from being opened. The kernel does not tell whose an OFD lock is (l_pid is -1), but /proc/PID/fdinfo/N lists
 * the locks of each open file: who holds the byte is found there, as far as this user may look. */
#include "host/broker_int.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Does fdinfo text `f` list an OFD lock on `byte`? */
static bool lists_lock(FILE *f, off_t byte)
{
    char line[256];

    while (fgets(line, sizeof(line), f)) {
        long long first, last;
        char end[32];

        /* "lock:\t1: OFDLCK  ADVISORY  READ -1 fe:00:1234 100 101" */
        if (sscanf(line, "lock: %*d: OFDLCK %*s %*s %*s %*s %lld %31s", &first, end) != 2)
            continue;
        last = strcmp(end, "EOF") == 0 ? INT64_MAX : atoll(end);
        if (first <= byte && byte <= last)
            return true;
    }
    return false;
}

static bool fd_holds(const char *pid, const char *fd, const struct stat *image, off_t byte)
{
    char path[64];
    struct stat st;
    FILE *f;
    bool found;

    snprintf(path, sizeof(path), "/proc/%.16s/fd/%.16s", pid, fd);
    if (stat(path, &st) || st.st_dev != image->st_dev || st.st_ino != image->st_ino)
        return false;
    snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%.16s", pid, fd);
    f = fopen(path, "re");
    if (!f)
        return false;
    found = lists_lock(f, byte);
    fclose(f);
    return found;
}

static bool process_holds(const struct broker_lock *l, const char *pid, const struct stat *image)
{
    char path[64];
    struct dirent *d;
    bool found = false;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
    dir = opendir(path);
    if (!dir)
        return false;
    while (!found && (d = readdir(dir)) != NULL) {
        if (d->d_name[0] == '.' || (atoi(pid) == l->client && atoi(d->d_name) == l->client_fd))
            continue;
        found = fd_holds(pid, d->d_name, image, l->byte);
    }
    closedir(dir);
    return found;
}

static void command_of(const char *pid, char *out, size_t size)
{
    char path[64];
    size_t n = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%.16s/cmdline", pid);
    f = fopen(path, "re");
    if (f) {
        n = fread(out, 1, size - 1, f);
        fclose(f);
    }
    while (n && out[n - 1] == '\0')
        n--;
    out[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)out[i] < ' ')
            out[i] = ' ';
}

void broker_do_holder(const struct broker_lock *l, int fd, char *out, size_t size)
{
    DIR *proc = opendir("/proc");
    struct dirent *d;
    struct stat image;

    snprintf(out, size, "another process (not visible to this user: try as root, or `lslocks`)");
    if (!proc)
        return;
    while (fstat(fd, &image) == 0 && (d = readdir(proc)) != NULL) {
        bool broker = atoi(d->d_name) == getpid() && getpid() != l->client; /* it has the descriptor that came, and no file of its own */
        char cmd[200];

        if (d->d_name[0] < '0' || d->d_name[0] > '9' || broker || !process_holds(l, d->d_name, &image))
            continue;
        if (atoi(d->d_name) == l->client) {
            snprintf(out, size, "this process itself (is the image given twice?)");
        } else {
            command_of(d->d_name, cmd, sizeof(cmd));
            snprintf(out, size, "process %.16s (%.199s)", d->d_name, cmd[0] ? cmd : "?");
        }
        break;
    }
    closedir(proc);
}
