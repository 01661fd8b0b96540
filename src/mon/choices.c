/* "device_add help", "netdev_add user,help": what could be said there, as the command line's -X help says it. */
#include "mon/command.h"

#include <stdio.h>
#include <string.h>

static bool is_help(const char *text)
{
    return text && (!strcmp(text, "help") || !strcmp(text, "?"));
}

/* What was printed to *f, which open_memstream() made. */
static json_t *printed(FILE *f, char **text)
{
    json_t *all;

    fclose(f);
    all = json_string(*text);
    free(*text);
    return all;
}

bool viv_mon_choices(const char *command, const char *implied, const char *text, bool (*print)(const char *name, FILE *to), json_t **result)
{
    struct viv_err err = VIV_ERR_INIT;
    struct viv_raw_opts *raw;
    const char *name;
    char *out = NULL;
    bool asked = false;
    FILE *f;

    if (viv_raw_parse(command, implied, text, &raw, &err) < 0) { /* told when it is made */
        viv_err_clear(&err);
        return false;
    }
    name = viv_raw_get(raw, implied);
    if (viv_raw_help(raw) && (f = open_memstream(&out, &(size_t){0})) != NULL) {
        asked = print(is_help(name) ? NULL : name, f);
        *result = printed(f, &out);
        if (!asked) /* there is no such thing: the command says so */
            json_decref(*result);
    }
    if (!asked)
        *result = NULL;
    viv_raw_free(raw);
    return asked;
}

bool viv_mon_choice_list(const char *text, void (*print)(FILE *to), json_t **result)
{
    char *out = NULL;
    FILE *f = is_help(text) ? open_memstream(&out, &(size_t){0}) : NULL;

    if (!f)
        return false;
    print(f);
    *result = printed(f, &out);
    return true;
}
