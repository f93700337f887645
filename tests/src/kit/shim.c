/* Writes below a folder fail on cue: preloaded into the program under test, which knows nothing of it.

   AMENDS_SHIM_FOLDER: only files below it are touched, so that sockets, logs and the test's own files are not.
   AMENDS_SHIM_CUE: while this file exists, its first letter says what happens to each write, sync and truncation:
   E: EIO, N: ENOSPC, R: EROFS, S: it takes 300 ms longer. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int below_folder(const char *path) {
    const char *folder = getenv("AMENDS_SHIM_FOLDER");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int cue(void) {
    const char *file = getenv("AMENDS_SHIM_CUE");
    if (!file) return 0;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return 0;
    char letter = 0;
    long got = syscall(SYS_read, fd, &letter, 1);
    syscall(SYS_close, fd);
    return got == 1 ? letter : 0;
}

static int failed_on_cue(void) {
    switch (cue()) {
    case 'E': errno = EIO; return 1;
    case 'N': errno = ENOSPC; return 1;
    case 'R': errno = EROFS; return 1;
    case 'S': {
        struct timespec slow = {0, 300 * 1000 * 1000};
        nanosleep(&slow, NULL);
        return 0;
    }
    default: return 0;
    }
}

static int fails(int fd) {
    int before = errno;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length <= 0) return 0;
    path[length] = 0;
    if (!below_folder(path)) return 0;
    int failed = failed_on_cue();
    if (!failed) errno = before;
    return failed;
}

#define NEXT(name) \
    static __typeof__(name) *next; \
    if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *from, size_t count) { NEXT(write); return fails(fd) ? -1 : next(fd, from, count); }
ssize_t writev(int fd, const struct iovec *from, int count) { NEXT(writev); return fails(fd) ? -1 : next(fd, from, count); }
ssize_t pwrite(int fd, const void *from, size_t count, off_t at) { NEXT(pwrite); return fails(fd) ? -1 : next(fd, from, count, at); }
ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at) { NEXT(pwrite64); return fails(fd) ? -1 : next(fd, from, count, at); }
int fsync(int fd) { NEXT(fsync); return fails(fd) ? -1 : next(fd); }
int fdatasync(int fd) { NEXT(fdatasync); return fails(fd) ? -1 : next(fd); }
int ftruncate(int fd, off_t length) { NEXT(ftruncate); return fails(fd) ? -1 : next(fd, length); }
int ftruncate64(int fd, off64_t length) { NEXT(ftruncate64); return fails(fd) ? -1 : next(fd, length); }
