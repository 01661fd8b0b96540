#include "cmd/bridge_acl.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int wrong(struct acl *a, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int wrong(struct acl *a, int errnum, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (!a->wrong[0])
        vsnprintf(a->wrong, sizeof(a->wrong), fmt, ap);
    va_end(ap);
    return -errnum;
}

/* Whoever can write there can allow himself anything. */
static int check_file(struct acl *a, const char *path, const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return wrong(a, EINVAL, "%s is no file", path);
    if (st->st_uid != a->owner)
        return wrong(a, EPERM, "%s belongs to user %u; it must be root's", path, (unsigned)st->st_uid);
    if (st->st_mode & S_IWOTH || (st->st_mode & S_IWGRP && st->st_gid))
        return wrong(a, EPERM, "%s can be written by others than root", path);
    if (st->st_size > ACL_FILE_MAX)
        return wrong(a, EFBIG, "%s is longer than %d bytes", path, ACL_FILE_MAX);
    return 0;
}

static int read_file(struct acl *a, const char *path, unsigned depth)
{
    int fd, rc;
    struct stat st;
    char *text;
    ssize_t len;

    if (a->files++ == ACL_FILES_MAX || depth > ACL_DEPTH_MAX)
        return wrong(a, ELOOP, "%s: too many files include each other", path);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return depth && errno == EACCES ? 0 : wrong(a, errno, "%s: %s", path, strerror(errno));
    rc = fstat(fd, &st) < 0 ? wrong(a, errno, "%s: %s", path, strerror(errno)) : check_file(a, path, &st);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    text = malloc(ACL_FILE_MAX + 1);
    len = text ? read(fd, text, ACL_FILE_MAX + 1) : -1;
    if (len < 0)
        rc = wrong(a, errno, "%s: %s", path, strerror(errno));
    else if (len > ACL_FILE_MAX)
        rc = wrong(a, EFBIG, "%s is longer than %d bytes", path, ACL_FILE_MAX);
    else
        rc = acl_parse(a, path, text, (size_t)len, depth);
    free(text);
    close(fd);
    return rc;
}

int acl_read(struct acl *a, const char *path)
{
    return read_file(a, path, 0);
}

static int rule(struct acl *a, const char *name, unsigned line, char *verb, char *what, unsigned depth)
{
    if (!strcmp(verb, "include"))
        return what[0] == '/' ? read_file(a, what, depth + 1)
                              : wrong(a, EINVAL, "%s:%u: include wants a path from / on", name, line);
    if (strcmp(verb, "allow") && strcmp(verb, "deny"))
        return wrong(a, EINVAL, "%s:%u: '%.40s' is none of allow, deny, include", name, line, verb);
    if (strlen(what) >= IFNAMSIZ)
        return wrong(a, EINVAL, "%s:%u: no bridge can be called '%.40s'", name, line, what);
    if (!strcmp(what, "all") || !strcmp(what, a->bridge))
        *(verb[0] == 'a' ? &a->allowed : &a->denied) = true;
    return 0;
}

int acl_parse(struct acl *a, const char *name, char *text, size_t len, unsigned depth)
{
    static const char space[] = " \t\r\v\f";
    char *end = text + len, *next;
    unsigned line = 0;
    int rc = 0;

    if (memchr(text, '\0', len))
        return wrong(a, EINVAL, "%s holds zero bytes", name);
    for (char *at = text; at < end && !rc; at = next) {
        char *nl = memchr(at, '\n', (size_t)(end - at)), *copy, *verb, *what, *save;

        next = nl ? nl + 1 : end;
        line++;
        copy = strndup(at, (size_t)((nl ? nl : end) - at));
        if (!copy)
            return wrong(a, ENOMEM, "%s: no memory", name);
        verb = strtok_r(copy, space, &save);
        if (verb && verb[0] != '#') {
            what = strtok_r(NULL, space, &save);
            if (!what || strtok_r(NULL, space, &save))
                rc = wrong(a, EINVAL, "%s:%u: a rule is two words, as in 'allow br0'", name, line);
            else
                rc = rule(a, name, line, verb, what, depth);
        }
        free(copy);
    }
    return rc;
}

bool acl_allows(const struct acl *a)
{
    return a->allowed && !a->denied && !a->wrong[0];
}
