/* Loaded into a server under torture: while the file named by TORTURE_SWITCH holds an error number, every write, sync and creation of a
 * file below TORTURE_DIRECTORY fails with it, as on a disk that is full (28), read-only (30) or broken (5). Reads go on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_read)(int, void *, size_t);

static int trouble(void) {
    const char *name = getenv("TORTURE_SWITCH");
    char text[16] = {0};
    if (!name) return 0;
    if (!real_open) real_open = dlsym(RTLD_NEXT, "open64");
    if (!real_read) real_read = dlsym(RTLD_NEXT, "read");
    int saved = errno, fd = real_open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { errno = saved; return 0; }
    ssize_t got = real_read(fd, text, sizeof text - 1);
    close(fd);
    errno = saved;
    return got > 0 ? atoi(text) : 0;
}

static int below(const char *path) {
    const char *directory = getenv("TORTURE_DIRECTORY");
    return directory && path && strncmp(path, directory, strlen(directory)) == 0;
}

static int ours(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}

static int refused(int fd) {
    int saved = errno, error = ours(fd) ? trouble() : 0;
    errno = error ? error : saved;
    return error != 0;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { REAL(pwrite64); return refused(fd) ? -1 : real(fd, bytes, count, at); }
ssize_t write(int fd, const void *bytes, size_t count) { REAL(write); return refused(fd) ? -1 : real(fd, bytes, count); }
/* With TORTURE_NO_SYNC set, a sync does nothing and says that it did. */
static int lies(void) { return getenv("TORTURE_NO_SYNC") != NULL; }

int fsync(int fd) { REAL(fsync); return refused(fd) ? -1 : lies() ? 0 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return refused(fd) ? -1 : lies() ? 0 : real(fd); }
int ftruncate64(int fd, off64_t length) { REAL(ftruncate64); return refused(fd) ? -1 : real(fd, length); }
int sync_file_range(int fd, off64_t from, off64_t count, unsigned how) { REAL(sync_file_range); return refused(fd) ? -1 : real(fd, from, count, how); }

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    if (!real_open) real_open = dlsym(RTLD_NEXT, "open64");
    int error = (flags & (O_CREAT | O_WRONLY | O_RDWR)) && below(path) ? trouble() : 0;
    /* A full or broken disk opens what is there. */
    if (error == EROFS) { errno = error; return -1; }
    return real_open(path, flags, mode);
}
