/* A line of the command language: which command, how many words, help. */
#include "blkio/blkio.h"

#include <getopt.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#define TABLES 6

/* The i-th, the last one its user's own; NULL: there is none. */
static const struct viv_blkio_command *table(const struct viv_blkio *f, unsigned i)
{
    const struct viv_blkio_command *const tables[TABLES] = {viv_blkio_rw_commands,    viv_blkio_aio_commands,   viv_blkio_map_commands,
                                                            viv_blkio_basic_commands, viv_blkio_break_commands, f->more};

    return tables[i];
}

static int cmd_help(struct viv_blkio *f, int argc, char **argv);

static const struct viv_blkio_command help = {"help", "?", cmd_help, 0, 1, true, "[command]", "help for one or all commands", NULL};

static const struct viv_blkio_command *find(const struct viv_blkio *f, const char *name)
{
    if (strcmp(name, help.name) == 0 || strcmp(name, help.alt) == 0)
        return &help;
    for (unsigned t = 0; t < TABLES; t++)
        for (const struct viv_blkio_command *c = table(f, t); c && c->name; c++)
            if (strcmp(c->name, name) == 0 || (c->alt && strcmp(c->alt, name) == 0))
                return c;
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    const struct viv_blkio_command *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static void help_all(const struct viv_blkio *f)
{
    const struct viv_blkio_command *all[64];
    unsigned n = 0;

    all[n++] = &help;
    for (unsigned t = 0; t < TABLES; t++)
        for (const struct viv_blkio_command *c = table(f, t); c && c->name; c++) {
            g_assert(n < G_N_ELEMENTS(all));
            all[n++] = c;
        }
    qsort(all, n, sizeof(all[0]), by_name);
    for (unsigned i = 0; i < n; i++)
        viv_blkio_usage(f, all[i]);
    fprintf(f->out, "\nUse 'help commandname' for extended help.\n");
}

static int cmd_help(struct viv_blkio *f, int argc, char **argv)
{
    const struct viv_blkio_command *c;

    if (argc == 1) {
        help_all(f);
        return 0;
    }
    c = find(f, argv[1]);
    if (!c) {
        fprintf(f->out, "command %s not found\n", argv[1]);
        return 1;
    }
    viv_blkio_usage(f, c);
    if (c->help)
        fprintf(f->out, "\n%s\n", c->help);
    return 0;
}

static int unknown(const struct viv_blkio *f, const char *name)
{
    fflush(f->out);
    fprintf(f->err, "command \"%s\" not found\n", name);
    return 1;
}

static int bad_count(const struct viv_blkio *f, const struct viv_blkio_command *c, int args)
{
    fflush(f->out);
    fprintf(f->err, "bad argument count %d to %s, expected ", args, c->name);
    if (c->max < 0)
        fprintf(f->err, "at least %d arguments\n", c->min);
    else if (c->min == c->max)
        fprintf(f->err, "%d arguments\n", c->min);
    else
        fprintf(f->err, "between %d and %d arguments\n", c->min, c->max);
    return 1;
}

/* What stands between two blanks is no word. */
static char **split(const char *line, int *argc)
{
    char **words = g_strsplit_set(line, " \t\n", -1);

    *argc = 0;
    for (char **w = words; *w; w++) {
        if (**w)
            words[(*argc)++] = *w;
        else
            g_free(*w);
    }
    words[*argc] = NULL;
    return words;
}

unsigned viv_blkio_perms(const struct viv_blkio *f, const char *line)
{
    int argc;
    g_auto(GStrv) words = split(line, &argc);
    const struct viv_blkio_command *c = argc ? find(f, words[0]) : NULL;

    return c ? c->perms : 0;
}

int viv_blkio_run(struct viv_blkio *f, const char *line)
{
    int argc;
    g_auto(GStrv) words = split(line, &argc);
    const struct viv_blkio_command *c;

    if (!argc)
        return 0;
    c = find(f, words[0]);
    if (!c)
        return unknown(f, words[0]);
    if (argc - 1 < c->min || (c->max >= 0 && argc - 1 > c->max))
        return bad_count(f, c, argc - 1);
    if (!c->anytime && !f->blk) {
        fflush(f->out);
        fprintf(f->err, "%s\n", f->none);
        return 1;
    }
    optind = 0; /* getopt starts over */
    opterr = f->err == stderr; /* it knows no other place to complain */
    return c->run(f, argc, words);
}

