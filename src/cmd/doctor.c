#include "cmd/doctor.h"

#include <glib.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct line {
    enum doctor_status status;
    char *id, *detail, *remedy;
};

struct doctor {
    GArray *lines;
    bool kvm;
    char *why_not;
    const char *software;
};

static const char *const status_text[] = {"OK", "warn", "missing"};

void doctor_add(struct doctor *d, enum doctor_status s, const char *id, const char *remedy,
                const char *detail, ...)
{
    struct line l = {.status = s, .id = g_strdup(id), .remedy = g_strdup(remedy)};
    va_list ap;

    va_start(ap, detail);
    l.detail = g_strdup_vprintf(detail, ap);
    va_end(ap);
    g_array_append_val(d->lines, l);
}

void doctor_set_kvm(struct doctor *d, bool usable, const char *why)
{
    d->kvm = usable;
    g_free(d->why_not);
    d->why_not = g_strdup(why);
}

void doctor_set_software(struct doctor *d, const char *accel)
{
    d->software = accel;
}

static void print_text(const struct doctor *d)
{
    for (guint i = 0; i < d->lines->len; i++) {
        const struct line *l = &g_array_index(d->lines, struct line, i);

        printf("%-8s %-18s %s\n", status_text[l->status], l->id, l->detail);
        if (l->remedy)
            printf("%-8s %-18s   mend: %s\n", "", "", l->remedy);
    }
    if (d->kvm)
        printf("\nVirtual machines run here with KVM.\n");
    else
        printf("\nVirtual machines run here on the software CPU (%s): %s.\n", d->software,
               d->why_not ? d->why_not : "no KVM");
}

static void print_json(const struct doctor *d)
{
    json_t *root = json_object(), *checks = json_array();

    for (guint i = 0; i < d->lines->len; i++) {
        const struct line *l = &g_array_index(d->lines, struct line, i);
        json_t *o = json_object();

        json_object_set_new(o, "check", json_string(l->id));
        json_object_set_new(o, "status", json_string(status_text[l->status]));
        json_object_set_new(o, "detail", json_string(l->detail));
        if (l->remedy)
            json_object_set_new(o, "mend", json_string(l->remedy));
        json_array_append_new(checks, o);
    }
    json_object_set_new(root, "accelerator", json_string(d->kvm ? "kvm" : d->software));
    if (!d->kvm && d->why_not)
        json_object_set_new(root, "why-not-kvm", json_string(d->why_not));
    json_object_set_new(root, "checks", checks);
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(root);
}

static void free_doctor(struct doctor *d)
{
    for (guint i = 0; i < d->lines->len; i++) {
        struct line *l = &g_array_index(d->lines, struct line, i);

        g_free(l->id);
        g_free(l->detail);
        g_free(l->remedy);
    }
    g_array_unref(d->lines);
    g_free(d->why_not);
}

static void usage(FILE *out)
{
    fprintf(out, "usage: viv doctor [--json] [--fresh]\n"
                 "  --json   for programs\n"
                 "  --fresh  measures KVM's speed again instead of using this boot's result\n");
}

/* The software CPU needs nothing of the host, so a VM can always run: 0, or 1 when the report could not be
 * written. */
int viv_doctor_main(int argc, char **argv)
{
    struct doctor d = {.lines = g_array_new(FALSE, FALSE, sizeof(struct line))};
    bool json = false, fresh = false;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json")) {
            json = true;
        } else if (!strcmp(argv[i], "--fresh")) {
            fresh = true;
        } else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            usage(stdout);
            free_doctor(&d);
            return 0;
        } else {
            fprintf(stderr, "viv doctor: unknown option '%s'\n", argv[i]);
            usage(stderr);
            free_doctor(&d);
            return 1;
        }
    }
    doctor_check_kvm(&d, fresh);
    doctor_check_software(&d);
    doctor_check_host(&d);
    doctor_check_parts(&d);
    if (json)
        print_json(&d);
    else
        print_text(&d);
    free_doctor(&d);
    return fflush(stdout) == 0 ? 0 : 1;
}
