/* Runs commands that come on standard input and says on standard output when each began and ended: the same program
 * in a guest (on its serial console) and in a chroot on the host (on a pipe), so that both are measured alike.
 *
 *   sh COMMAND            runs it with /bin/sh, untimed; "@done STATUS"
 *   run NAME COMMAND      "@begin NAME", "@ended NAME", then "@end NAME SECONDS CPU CHECKSUM STATUS NOTE"
 *   quit                  ends
 *
 * SECONDS are CLOCK_MONOTONIC's from fork to wait, CPU the user and system time of the command and its children. COMMAND is
 * split at blanks, without a shell. Its output goes to a file and is summed after the end (FNV-1a, 64 bits); a first line
 * that begins with '#' is the NOTE and no part of the result. Errors go to the console. Works in the current folder. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 4096, WORDS = 32 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double cpu_of(const struct rusage *u)
{
    return u->ru_utime.tv_sec + u->ru_stime.tv_sec +
           (u->ru_utime.tv_usec + u->ru_stime.tv_usec) * 1e-6;
}

/* The status of a child that runs argv with its output in path (NULL: ours). */
static int child(char **argv, const char *path, struct rusage *used)
{
    int status, fd;
    pid_t pid = fork();

    if (!pid) {
        fd = open("/dev/null", O_RDONLY);
        dup2(fd, 0);
        if (path && dup2(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), 1) < 0)
            _exit(126);
        execvp(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, used) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* FNV-1a of the file, without a first line that begins with '#': that becomes the note. */
static uint64_t sum_file(const char *path, char *note, size_t size)
{
    uint64_t h = 0xcbf29ce484222325ull;
    FILE *f = fopen(path, "r");
    int c = f ? getc(f) : EOF;
    size_t n = 0;

    if (c == '#') {
        while ((c = getc(f)) != EOF && c != '\n')
            if (n + 1 < size)
                note[n++] = (char)c;
        c = getc(f);
    }
    note[n] = 0;
    for (; c != EOF; c = getc(f))
        h = (h ^ (unsigned)c) * 0x100000001b3ull;
    if (f)
        fclose(f);
    return h;
}

static void run(char *line)
{
    char *argv[WORDS + 1], note[128], *save, *name = strtok_r(line, " ", &save);
    struct rusage used = {0};
    double start, seconds;
    int n = 0, status;
    uint64_t sum;

    while (n < WORDS && (argv[n] = strtok_r(NULL, " ", &save)))
        n++;
    argv[n] = NULL;
    if (!n) {
        printf("@error nothing to run\n");
        return;
    }
    printf("@begin %s\n", name);
    fflush(stdout);
    start = now();
    status = child(argv, "output", &used);
    seconds = now() - start;
    printf("@ended %s\n", name);
    fflush(stdout);
    sum = sum_file("output", note, sizeof(note));
    unlink("output");
    printf("@end %s %.6f %.6f %016llx %d %s\n", name, seconds, cpu_of(&used),
           (unsigned long long)sum, status, note);
}

/* A terminal would echo the commands and translate line ends. */
static void make_raw(int fd)
{
    struct termios t;

    if (tcgetattr(fd, &t))
        return;
    cfmakeraw(&t);
    t.c_lflag |= ICANON;
    tcsetattr(fd, TCSANOW, &t);
}

int main(void)
{
    char line[LINE];

    clearenv();
    setenv("PATH", "/usr/bin:/bin", 1);
    setenv("LC_ALL", "C", 1);
    setenv("PYTHONHASHSEED", "0", 1);
    setenv("PERL_HASH_SEED", "0", 1);
    make_raw(0);
    printf("@ready\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\r\n")] = 0;
        if (!strncmp(line, "sh ", 3))
            printf("@done %d\n", child((char *[]){"/bin/sh", "-c", line + 3, NULL}, NULL, NULL));
        else if (!strncmp(line, "run ", 4))
            run(line + 4);
        else if (!strcmp(line, "quit"))
            break;
        else
            printf("@error what is '%s'?\n", line);
        fflush(stdout);
    }
    return 0;
}
