/* -readconfig FILE: options out of a file, as QEMU's -writeconfig writes it and its documentation shows it:
 *
 *     # what the line stands for
 *     [device "ehci"]
 *       driver = "ich9-usb-ehci1"
 *       addr = "1d.7"
 *
 * is -device id=ehci,driver=ich9-usb-ehci1,addr=1d.7. Sections are taken in their order, where -readconfig stands. */
#include "cmd/vm_args.h"

#include <errno.h>
#include <string.h>

/* Sections that are not called like their option. */
static const struct {
    const char *section, *option;
} groups[] = {
    {"accel", "accel"},   {"action", "action"},   {"boot-opts", "boot"}, {"chardev", "chardev"}, {"device", "device"}, {"drive", "drive"},
    {"fsdev", "fsdev"},   {"fw_cfg", "fw_cfg"},   {"global", "global"},  {"iscsi", "iscsi"},     {"machine", "machine"}, {"memory", "m"},
    {"mon", "mon"},       {"msg", "msg"},         {"name", "name"},      {"net", "net"},         {"netdev", "netdev"}, {"nic", "nic"},
    {"object", "object"}, {"overcommit", "overcommit"}, {"rtc", "rtc"},  {"sandbox", "sandbox"}, {"smp-opts", "smp"},
};

struct reader {
    const char *file;
    unsigned line;
    const char *option; /* of the section; NULL before the first */
    GString *text;
    int (*take)(struct vm_args *a, const char *option, const char *text, struct viv_err *err);
};

static void append(struct reader *r, const char *key, const char *value)
{
    g_string_append_printf(r->text, "%s%s=", r->text->len ? "," : "", key);
    for (; *value; value++) /* a comma in a value is doubled */
        g_string_append_printf(r->text, *value == ',' ? ",%c" : "%c", *value);
}

static int end_section(struct reader *r, struct vm_args *a, struct viv_err *err)
{
    int rc;

    if (!r->option)
        return 0;
    rc = r->take(a, r->option, g_intern_string(r->text->str), err); /* whoever takes it keeps the text */
    if (rc < 0)
        viv_err_prefix(err, "-readconfig %.200s: before line %u", r->file, r->line);
    return rc;
}

static int begin_section(struct reader *r, const char *name, const char *id, struct viv_err *err)
{
    g_string_truncate(r->text, 0);
    if (*id)
        append(r, "id", id);
    for (size_t i = 0; i < G_N_ELEMENTS(groups); i++) {
        if (!strcmp(groups[i].section, name)) {
            r->option = groups[i].option;
            return 0;
        }
    }
    return viv_fail(err, EINVAL, "-readconfig %.200s: line %u: there is no section '%.60s'; there are device, drive, netdev, machine, memory, "
                    "smp-opts...; say it on the command line", r->file, r->line, name);
}

static int one_line(struct reader *r, struct vm_args *a, const char *text, struct viv_err *err)
{
    g_autoptr(GRegex) section = g_regex_new("^\\[([\\w-]+)(?:\\s+\"([^\"]*)\")?\\]$", 0, 0, NULL);
    g_autoptr(GRegex) setting = g_regex_new("^([\\w.-]+)\\s*=\\s*\"([^\"]*)\"$", 0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL, other = NULL;
    bool begins = g_regex_match(section, text, 0, &match);
    g_autofree char *first = NULL, *second = NULL;
    int rc;

    if (!*text || *text == '#')
        return 0;
    if (!begins && (!r->option || !g_regex_match(setting, text, 0, &other)))
        return viv_fail(err, EINVAL, "-readconfig %.200s: line %u: '%.60s' is neither [section \"id\"] nor%s key = \"value\"", r->file, r->line, text,
                        r->option ? "" : ", in a section,");
    first = g_match_info_fetch(begins ? match : other, 1);
    second = g_match_info_fetch(begins ? match : other, 2);
    if (!begins) {
        append(r, first, second);
        return 0;
    }
    rc = end_section(r, a, err);
    return rc ? rc : begin_section(r, first, second ? second : "", err);
}

int vm_readconfig(struct vm_args *a, const char *file, int (*take)(struct vm_args *, const char *, const char *, struct viv_err *),
                  struct viv_err *err)
{
    struct reader r = {.file = file, .take = take};
    g_autoptr(GError) why = NULL;
    g_autofree char *all = NULL;
    g_auto(GStrv) lines = NULL;
    int rc = 0;

    if (!g_file_get_contents(file, &all, NULL, &why))
        return viv_fail(err, EIO, "-readconfig: %s", why->message);
    if (!g_utf8_validate(all, -1, NULL))
        return viv_fail(err, EINVAL, "-readconfig %.200s: it is no text", file);
    r.text = g_string_new(NULL);
    lines = g_strsplit(all, "\n", -1);
    for (char **l = lines; *l && !rc; l++) {
        r.line++;
        rc = one_line(&r, a, g_strstrip(*l), err);
    }
    if (!rc)
        rc = end_section(&r, a, err);
    g_string_free(r.text, TRUE);
    return rc;
}
