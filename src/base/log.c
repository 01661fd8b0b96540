#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GUEST_LINES_PER_SECOND 10

uint32_t viv_log_mask;

static const char *program = "viv";
static bool stamped;
static const char *guest; /* NULL: lines do not name it */
static FILE *sink; /* NULL: stderr */
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;

static const struct {
    const char *name;
    const char *help;
} categories[] = {
#define _(id, name, help) {name, help},
    VIV_LOG_CATEGORIES(_)
#undef _
};

void viv_log_set_program(const char *name)
{
    program = name;
}

static int category_index(const char *name, size_t len)
{
    for (int i = 0; i < VIV_LOG_CATEGORY_COUNT; i++) {
        if (strlen(categories[i].name) == len && !memcmp(categories[i].name, name, len))
            return i;
    }
    return -1;
}

static int fail_unknown(const char *name, size_t len, struct viv_err *err)
{
    char list[256] = "";

    for (int i = 0; i < VIV_LOG_CATEGORY_COUNT; i++) {
        size_t used = strlen(list);

        snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", categories[i].name);
    }
    return viv_fail(err, EINVAL, "-d %.*s: no such log category; there are %s", len > 60 ? 60 : (int)len, name, list);
}

int viv_log_enable(const char *names, struct viv_err *err)
{
    while (*names) {
        size_t len = strcspn(names, ",");
        int i = category_index(names, len);

        if (i < 0)
            return fail_unknown(names, len, err);
        viv_log_mask |= 1u << i;
        names += len;
        names += *names == ',';
    }
    return 0;
}

int viv_log_set(const char *names, struct viv_err *err)
{
    const uint32_t fixed = 1u << VIV_LOG_IN_ASM | 1u << VIV_LOG_OUT_ASM;
    uint32_t was = viv_log_mask;
    int rc;

    viv_log_mask = 0;
    rc = strcmp(names, "none") ? viv_log_enable(names, err) : 0;
    if (!rc && viv_log_mask & fixed & ~was)
        rc = viv_fail(err, ENOTSUP, "in_asm and out_asm are chosen at the start, by -d");
    viv_log_mask = rc ? was : viv_log_mask | (was & fixed);
    return rc;
}

int viv_log_open(const char *path, struct viv_err *err)
{
    FILE *f = fopen(path, "we");

    if (!f)
        return viv_fail_os(err, errno, "cannot open log file '%s'", path);
    setvbuf(f, NULL, _IOLBF, 0);
    sink = f;
    return 0;
}

int viv_log_switch(int fd, struct viv_err *err)
{
    int rc = 0;

    pthread_mutex_lock(&sink_lock);
    if (sink) { /* the same FILE: others hold it */
        flockfile(sink);
        fflush(sink);
        if (dup3(fd, fileno(sink), O_CLOEXEC) < 0)
            rc = viv_fail_os(err, errno, "cannot switch the log");
        close(fd);
        funlockfile(sink);
    } else if (!(sink = fdopen(fd, "w"))) {
        rc = viv_fail_os(err, errno, "cannot switch the log");
        close(fd);
    } else {
        setvbuf(sink, NULL, _IOLBF, 0);
    }
    pthread_mutex_unlock(&sink_lock);
    return rc;
}

FILE *viv_log_file(void)
{
    return sink ? sink : stderr;
}

void viv_log_help(FILE *out)
{
    fprintf(out, "Log categories (comma separated):\n");
    for (int i = 0; i < VIV_LOG_CATEGORY_COUNT; i++)
        fprintf(out, "%-14s %s\n", categories[i].name, categories[i].help);
}

static void print_line(FILE *out, const char *prefix, const char *fmt, va_list ap)
{
    pthread_mutex_lock(&sink_lock);
    fprintf(out, "%s", prefix);
    vfprintf(out, fmt, ap);
    fputc('\n', out);
    pthread_mutex_unlock(&sink_lock);
}

void viv_log_stamp(bool timestamp, const char *name)
{
    stamped = timestamp;
    guest = name;
}

/* "viv-vm: warning: ", and before that what viv_log_stamp() wants. Returns its length. */
static size_t open_line(char *to, size_t size, const char *word)
{
    size_t len = 0;

    if (stamped) {
        struct timespec now;
        struct tm tm;

        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        len = strftime(to, size, "%Y-%m-%dT%H:%M:%S", &tm);
        len += (size_t)snprintf(to + len, size - len, ".%06ldZ ", now.tv_nsec / 1000);
    }
    snprintf(to + len, size - len, "%.60s%s%.60s: %s", guest ? guest : "", guest ? " " : "", program, word);
    return strlen(to);
}

#define DEFINE_LEVEL(fn, word)                                                                     \
    void fn(const char *fmt, ...)                                                                  \
    {                                                                                              \
        char prefix[192];                                                                          \
        va_list ap;                                                                                \
        open_line(prefix, sizeof(prefix), word);                                                   \
        va_start(ap, fmt);                                                                         \
        print_line(stderr, prefix, fmt, ap);                                                       \
        va_end(ap);                                                                                \
    }

DEFINE_LEVEL(viv_error, "")
DEFINE_LEVEL(viv_warn, "warning: ")

static bool holding;
static char held[4096]; /* lines, complete; what does not fit is printed at once */
static size_t held_len;

void viv_log_hold(void)
{
    holding = true;
}

void viv_log_release(bool print)
{
    pthread_mutex_lock(&sink_lock);
    if (print)
        fwrite(held, 1, held_len, stderr);
    held_len = 0;
    holding = false;
    pthread_mutex_unlock(&sink_lock);
}

void viv_info(const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    size_t len;

    len = open_line(line, sizeof(line), "info: ");
    va_start(ap, fmt);
    vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
    va_end(ap);
    len = strlen(line);
    line[len++] = '\n';
    pthread_mutex_lock(&sink_lock);
    if (holding && len <= sizeof(held) - held_len) {
        memcpy(held + held_len, line, len);
        held_len += len;
    } else {
        fwrite(line, 1, len, stderr);
    }
    pthread_mutex_unlock(&sink_lock);
}

void viv_log_write(enum viv_log_category c, const char *fmt, ...)
{
    char prefix[32];
    va_list ap;

    snprintf(prefix, sizeof(prefix), "%s: ", categories[c].name);
    va_start(ap, fmt);
    print_line(viv_log_file(), prefix, fmt, ap);
    va_end(ap);
}

/* Returns whether a line may be printed now; *suppressed is what was dropped before it. */
static bool rate_allows(unsigned *suppressed)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static time_t second;
    static unsigned printed, dropped;
    struct timespec now;
    bool ok;

    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&lock);
    *suppressed = 0;
    if (now.tv_sec != second) {
        second = now.tv_sec;
        *suppressed = dropped;
        printed = dropped = 0;
    }
    ok = printed < GUEST_LINES_PER_SECOND;
    if (ok)
        printed++;
    else
        dropped++;
    pthread_mutex_unlock(&lock);
    return ok;
}

void viv_guest_error(const char *who, const char *fmt, ...)
{
    char prefix[128];
    unsigned suppressed;
    va_list ap;

    if (!viv_log_on(VIV_LOG_GUEST_ERRORS) || !rate_allows(&suppressed))
        return;
    if (suppressed)
        viv_log_write(VIV_LOG_GUEST_ERRORS, "(%u suppressed)", suppressed);
    snprintf(prefix, sizeof(prefix), "guest_errors: %s: ", who);
    va_start(ap, fmt);
    print_line(viv_log_file(), prefix, fmt, ap);
    va_end(ap);
}
