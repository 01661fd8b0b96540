#include "cmd/img.h"

#include "base/program.h"

#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

static void complain(const char *fmt, va_list ap)
{
    fflush(stdout);
    fprintf(stderr, "%s: ", viv_program_name());
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

int img_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(fmt, ap);
    va_end(ap);
    return 1;
}

int img_usage(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(fmt, ap);
    va_end(ap);
    fprintf(stderr, "Try '%s --help' for more information\n", viv_program_name());
    return 1;
}

int img_parse_output(const char *text, bool *json)
{
    *json = strcmp(text, "json") == 0;
    if (*json || strcmp(text, "human") == 0)
        return 0;
    return img_error("--output must be used with human or json as argument.");
}

int img_parse_size(const char *what, const char *text, uint64_t *out)
{
    if (!viv_parse_size(text, 1, out, NULL))
        return 0;
    img_error("Invalid %s specified. You may use k, M, G, T, P or E suffixes for", what);
    return img_error("kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
}

int img_parse_cache(const char *what, const char *text, struct viv_node_opts *o, bool *writethrough)
{
    static const struct {
        const char *name;
        bool direct, no_flush, writethrough;
    } modes[] = {
        {"writeback", false, false, false}, {"none", true, false, false},
        {"off", true, false, false},        {"writethrough", false, false, true},
        {"directsync", true, false, true},  {"unsafe", false, true, false},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
        if (strcmp(text, modes[i].name) == 0) {
            o->direct = modes[i].direct;
            o->no_flush = modes[i].no_flush;
            *writethrough = modes[i].writethrough;
            return 0;
        }
    }
    return img_error("%s: %s", what, text);
}

bool img_same_file(const char *a, const char *b)
{
    struct stat x, y;

    return strcmp(a, b) == 0 || (stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

const char *img_bool(bool b)
{
    return b ? "true" : "false";
}

void img_json_string(FILE *f, const char *text)
{
    g_autofree char *clean = g_utf8_make_valid(text, -1); /* names of files are any bytes */

    fputc('"', f);
    for (const unsigned char *p = (const unsigned char *)clean; *p; p++) {
        if (*p == '"' || *p == '\\')
            fprintf(f, "\\%c", *p);
        else if (*p < ' ' || *p == 127)
            fprintf(f, "\\u%04x", *p);
        else
            fputc(*p, f);
    }
    fputc('"', f);
}
