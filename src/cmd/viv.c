/* viv: the command for people. A table of verbs, one file each. */
#include "cmd/doctor.h"

#include "base/log.h"
#include "base/program.h"
#include "opt/opt.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>

struct verb {
    const char *name, *help;
    int (*main)(int argc, char **argv);
};

static const struct verb verbs[] = {
    {"doctor", "what this host has for virtual machines, and how to mend what it lacks", viv_doctor_main},
};

static void usage(FILE *out)
{
    fprintf(out, "usage: viv VERB [options]\n");
    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++)
        fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].help);
    fprintf(out, "Machines are run with viv-vm; managing them (define, start, list ...) is not there yet.\n");
}

int main(int argc, char **argv)
{
    const char *names[G_N_ELEMENTS(verbs) + 1] = {0};
    const char *near;

    viv_program_init(argv[0], "viv");
    if (argc < 2) {
        usage(stderr);
        return 1;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        usage(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("viv %s\n", VIV_VERSION);
        return 0;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
        names[i] = verbs[i].name;
        if (!strcmp(argv[1], verbs[i].name))
            return verbs[i].main(argc - 1, argv + 1);
    }
    near = viv_nearest(argv[1], names);
    if (near)
        viv_error("'%s' is not a verb; did you mean '%s'?", argv[1], near);
    else
        viv_error("'%s' is not there yet; see viv --help", argv[1]);
    return 1;
}
