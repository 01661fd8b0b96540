/* viv-img check: report and repair, with qemu-img's words and exit codes. */
#include "cmd/img.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { EXIT_CLEAN = 0, EXIT_FAILED = 1, EXIT_CORRUPT = 2, EXIT_LEAKS = 3, EXIT_NO_CHECK = 63 };

struct args {
    struct img_common common;
    const char *path;
    unsigned fix;
};

static int take(void *args, int c)
{
    struct args *a = args;
    bool ignored;

    if (c == 'T')
        return img_parse_cache("Invalid source cache option", optarg, &a->common.o, &ignored);
    if (strcmp(optarg, "leaks") != 0 && strcmp(optarg, "all") != 0)
        return img_usage("Unknown option value for -r (expecting 'leaks' or 'all'): %s", optarg);
    a->fix = VIV_FIX_LEAKS | (optarg[0] == 'a' ? VIV_FIX_ERRORS : 0);
    return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
    static const struct option longs[] = {{"repair", required_argument, NULL, 'r'}, {0}};
    static const struct img_syntax syntax = {":hf:r:T:qU", longs, .output = true, .take = take};
    int ret = img_read_options(&a->common, &syntax, a, argc, argv);

    if (ret)
        return ret;
    if (optind != argc - 1)
        return 1 + img_usage("Expecting one image file name");
    a->path = argv[optind];
    if (a->fix && a->common.o.force_share)
        return 1 + img_error("check: -r changes the image: -U (--force-share) does not go with it");
    return 0;
}

static void report(void *opaque, const char *text)
{
    fprintf(stderr, "%s\n", text);
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? part * 100.0 / whole : 0;
}

static void print_human(const struct viv_check *c)
{
    uint64_t corruptions = c->corruptions - c->corruptions_fixed, leaks = c->leaks - c->leaks_fixed;

    if (!corruptions && !leaks && !c->check_errors)
        printf("No errors were found on the image.\n");
    if (corruptions)
        printf("\n%" PRIu64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n",
               corruptions);
    if (leaks)
        printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n",
               leaks);
    if (c->check_errors)
        printf("\n%" PRIu64 " internal errors have occurred during the check.\n", c->check_errors);
    if (c->total && c->allocated)
        printf("%" PRIu64 "/%" PRIu64
               " = %.2f%% allocated, %.2f%% fragmented, %.2f%% compressed clusters\n",
               c->allocated, c->total, percent(c->allocated, c->total),
               percent(c->fragmented, c->allocated), percent(c->compressed, c->allocated));
    if (c->image_end) /* not every format has one */
        printf("Image end offset: %" PRIu64 "\n", c->image_end);
}

static void json_number(const char *key, uint64_t value, bool always)
{
    if (value || always)
        printf("    \"%s\": %" PRIu64 ",\n", key, value);
}

/* First pass: what was found and fixed; the numbers of the second are what remains. */
static void print_json(const struct args *a, const char *format, const struct viv_check *first,
                       const struct viv_check *last)
{
    printf("{\n");
    json_number("image-end-offset", last->image_end, false);
    json_number("total-clusters", last->total, false);
    json_number("corruptions", last->corruptions - last->corruptions_fixed, false);
    json_number("leaks", last->leaks - last->leaks_fixed, false);
    json_number("corruptions-fixed", first->corruptions_fixed, false);
    json_number("leaks-fixed", first->leaks_fixed, false);
    json_number("check-errors", last->check_errors, true);
    json_number("allocated-clusters", last->allocated, false);
    json_number("fragmented-clusters", last->fragmented, false);
    json_number("compressed-clusters", last->compressed, false);
    printf("    \"filename\": ");
    img_json_string(stdout, a->path);
    printf(",\n    \"format\": \"%s\"\n}\n", format);
}

static int exit_code(const struct viv_check *c)
{
    if (c->check_errors)
        return EXIT_FAILED;
    if (c->corruptions > c->corruptions_fixed)
        return EXIT_CORRUPT;
    return c->leaks > c->leaks_fixed ? EXIT_LEAKS : EXIT_CLEAN;
}

static int run(const struct args *a, struct viv_node *n)
{
    struct viv_check first = {.fix = a->fix, .report = a->common.quiet ? NULL : report}, last = {0};
    struct viv_err err = VIV_ERR_INIT;

    if (n->drv->check(n, &first, &err))
        return img_error("%s", err.text);
    last = first;
    if (first.corruptions_fixed || first.leaks_fixed) {
        if (!a->common.json && !a->common.quiet)
            printf("The following inconsistencies were found and repaired:\n\n    %" PRIu64
                   " leaked clusters\n    %" PRIu64 " corruptions\n\n"
                   "Double checking the fixed image now...\n",
                   first.leaks_fixed, first.corruptions_fixed);
        last = (struct viv_check){.report = a->common.quiet ? NULL : report};
        if (n->drv->check(n, &last, &err))
            return img_error("%s", err.text);
    }
    if (a->common.json)
        print_json(a, n->drv->name, &first, &last);
    else if (!a->common.quiet)
        print_human(&last);
    return exit_code(&last);
}

int img_check(int argc, char **argv)
{
    struct args a = {0};
    struct viv_err err = VIV_ERR_INIT;
    struct viv_node *n = NULL;
    int ret = parse(argc, argv, &a);

    if (ret)
        return ret - 1;
    a.common.o.read_only = !a.fix;
    a.common.o.for_check = true;
    a.common.o.no_data = true; /* tables alone: an encrypted image needs no key */
    a.common.o.no_backing = true;
    if (img_open(&a.common, a.path, a.common.format, &a.common.o, &n, &err))
        return img_error("%s", err.text);
    if (!n->drv->check) {
        img_error("This image format does not support checks (%s)", n->drv->name);
        ret = EXIT_NO_CHECK;
    } else {
        ret = run(&a, n);
    }
    return img_close(&n, 0, &err) && !ret ? img_error("%s", err.text) : ret;
}
