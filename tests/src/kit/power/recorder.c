/* Records what a program does to the files of one folder, in the order in which it happens: preloaded into the program under test, which
   knows nothing of it. From the recording a test makes what a disk may hold after a power cut at any moment.

   AMENDS_POWER_FOLDER: the folder, which is not there when the recording begins. What is in folders below it is not recorded, nor are `-shm` files: those are memory, which no
   power cut leaves.
   AMENDS_POWER_JOURNAL: the recording. Every record is a `struct record` and `length` bytes; `journal.rs` reads it. Several programs,
   one after the other, append to it.
   AMENDS_POWER_HALT: when this file is there, the next thing that would be recorded is not done: the program stands still in it, and so
   can be killed between two records.

   A change is made and recorded under one lock. A sync is recorded twice, when it is called and when it has returned: it is sure of what was
   recorded before the call, and anyone who hears of it hears after the second record. Files are named by their inode: a number that is
   used again comes with a record of the new file. What goes past C's library (`io_uring`, direct system calls, writes to mapped memory) is
   not seen; a test finds that by comparing the folder with what the recording says. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, LENGTH, CREATE, UNLINK, RENAME, SYNC, SYNCED, FOLDER_SYNC, FOLDER_SYNCED, HALTED, PARENT_SYNCED };

/* What a sync is of, if not of a file. */
enum other { NEITHER, FOLDER, PARENT };

struct record {
    uint32_t kind, length;
    /* The inode. Of a folder's sync, and of a halt, nothing. */
    uint64_t file;
    /* Where in the file, or its new length; of a sync the thread that asks for it. */
    uint64_t at;
};

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static const char *folder, *halt;
static size_t folder_length;
static int journal = -1;

#define NEXT(name) \
    static __typeof__(name) *next; \
    if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    folder = getenv("AMENDS_POWER_FOLDER");
    halt = getenv("AMENDS_POWER_HALT");
    const char *path = getenv("AMENDS_POWER_JOURNAL");
    if (!folder || !path) return;
    folder_length = strlen(folder);
    journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void record(uint32_t kind, uint64_t file, uint64_t at, const void *bytes, size_t length) {
    struct record head = {kind, (uint32_t)length, file, at};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)bytes, length}};
    /* A recording that is not whole is worth nothing. */
    if (syscall(SYS_writev, journal, parts, 2) != (long)(sizeof head + length)) abort();
}

static void lock(void) {
    pthread_mutex_lock(&order);
    if (halt && syscall(SYS_faccessat, AT_FDCWD, halt, F_OK) == 0) {
        record(HALTED, 0, 0, NULL, 0);
        for (;;) pause();
    }
}

/* Whoever calls reads `errno` after it. */
static void unlock(void) {
    int before = errno;
    pthread_mutex_unlock(&order);
    errno = before;
}

static int ends_in(const char *text, const char *end) {
    size_t length = strlen(text), least = strlen(end);
    return length >= least && strcmp(text + length - least, end) == 0;
}

/* The name within the folder, or NULL for what is elsewhere. */
static const char *name_in_folder(const char *path) {
    if (strncmp(path, folder, folder_length) != 0 || path[folder_length] != '/') return NULL;
    const char *name = path + folder_length + 1;
    return *name && !strchr(name, '/') && !ends_in(name, "-shm") && !ends_in(name, "-shm (deleted)") ? name : NULL;
}

static int is_parent_of_folder(const char *path) {
    size_t length = (size_t)(strrchr(folder, '/') - folder);
    return strncmp(path, folder, length) == 0 && path[length] == 0;
}

/* The inode of an open file of the folder, 0 of any other; `*other` tells the folder itself, and its parent once the folder is there. */
static uint64_t file_of(int fd, enum other *other) {
    if (journal < 0) return 0;
    int before = errno;
    char link[64], path[PATH_MAX];
    struct stat status;
    uint64_t file = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        if (other && strcmp(path, folder) == 0) *other = FOLDER;
        if (other && is_parent_of_folder(path) && syscall(SYS_faccessat, AT_FDCWD, folder, F_OK) == 0) *other = PARENT;
        if (name_in_folder(path) && syscall(SYS_newfstatat, fd, "", &status, AT_EMPTY_PATH) == 0) file = status.st_ino;
    }
    errno = before;
    return file;
}

/* The name within the folder of a path as a program gives it: absolute, or beside the folder's own name. */
static const char *named(const char *path, char *whole) {
    if (journal < 0 || !path) return NULL;
    int before = errno;
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/'), *found = NULL;
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length < sizeof parent - 1) {
        memcpy(parent, slash ? path : ".", slash ? length : 1);
        parent[slash ? length : 1] = 0;
        if (slash && length == 0) strcpy(parent, "/");
        if (realpath(parent, whole) && strlen(whole) + strlen(path) + 2 < PATH_MAX) {
            strcat(whole, "/");
            strcat(whole, slash ? slash + 1 : path);
            found = name_in_folder(whole);
        }
    }
    errno = before;
    return found;
}

static uint64_t inode_at(const char *path) {
    struct stat status;
    return syscall(SYS_newfstatat, AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) == 0 ? status.st_ino : 0;
}

/* Under the lock. `at` is -1 for a write where the file's position is. */
static void wrote(int fd, uint64_t file, const struct iovec *parts, int count, ssize_t done, off64_t at) {
    if (done <= 0) return;
    int before = errno;
    if (at < 0) at = lseek64(fd, 0, SEEK_CUR) - done;
    for (int part = 0; part < count && done > 0; part++) {
        size_t length = parts[part].iov_len < (size_t)done ? parts[part].iov_len : (size_t)done;
        record(WRITE, file, (uint64_t)at, parts[part].iov_base, length);
        at += (off64_t)length;
        done -= (ssize_t)length;
    }
    errno = before;
}

#define RECORDED_WRITE(call, parts, count, at) \
    uint64_t file = file_of(fd, NULL); \
    if (!file) return call; \
    lock(); \
    ssize_t done = call; \
    wrote(fd, file, parts, count, done, at); \
    unlock(); \
    return done

ssize_t write(int fd, const void *from, size_t length) {
    NEXT(write);
    struct iovec one = {(void *)from, length};
    RECORDED_WRITE(next(fd, from, length), &one, 1, -1);
}
ssize_t writev(int fd, const struct iovec *from, int count) {
    NEXT(writev);
    RECORDED_WRITE(next(fd, from, count), from, count, -1);
}
ssize_t pwrite(int fd, const void *from, size_t length, off_t at) {
    NEXT(pwrite);
    struct iovec one = {(void *)from, length};
    RECORDED_WRITE(next(fd, from, length, at), &one, 1, at);
}
ssize_t pwrite64(int fd, const void *from, size_t length, off64_t at) {
    NEXT(pwrite64);
    struct iovec one = {(void *)from, length};
    RECORDED_WRITE(next(fd, from, length, at), &one, 1, at);
}
ssize_t pwritev(int fd, const struct iovec *from, int count, off_t at) {
    NEXT(pwritev);
    RECORDED_WRITE(next(fd, from, count, at), from, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *from, int count, off64_t at) {
    NEXT(pwritev64);
    RECORDED_WRITE(next(fd, from, count, at), from, count, at);
}

/* Whatever was done to the length, the file tells. */
static void length_changed(int fd, uint64_t file) {
    int before = errno;
    struct stat status;
    if (syscall(SYS_newfstatat, fd, "", &status, AT_EMPTY_PATH) == 0) record(LENGTH, file, (uint64_t)status.st_size, NULL, 0);
    errno = before;
}

#define RECORDED_LENGTH(call) \
    uint64_t file = file_of(fd, NULL); \
    if (!file) return call; \
    lock(); \
    int failed = call; \
    if (!failed) length_changed(fd, file); \
    unlock(); \
    return failed

int ftruncate(int fd, off_t length) { NEXT(ftruncate); RECORDED_LENGTH(next(fd, length)); }
int ftruncate64(int fd, off64_t length) { NEXT(ftruncate64); RECORDED_LENGTH(next(fd, length)); }
int fallocate(int fd, int mode, off_t at, off_t length) { NEXT(fallocate); RECORDED_LENGTH(next(fd, mode, at, length)); }
int fallocate64(int fd, int mode, off64_t at, off64_t length) { NEXT(fallocate64); RECORDED_LENGTH(next(fd, mode, at, length)); }
int posix_fallocate(int fd, off_t at, off_t length) { NEXT(posix_fallocate); RECORDED_LENGTH(next(fd, at, length)); }
int posix_fallocate64(int fd, off64_t at, off64_t length) { NEXT(posix_fallocate64); RECORDED_LENGTH(next(fd, at, length)); }

#define RECORDED_SYNC(call) \
    enum other other = NEITHER; \
    uint64_t file = file_of(fd, &other), thread = (uint64_t)syscall(SYS_gettid); \
    if (!file && other == NEITHER) return call; \
    lock(); \
    if (other != PARENT) record(other == FOLDER ? FOLDER_SYNC : SYNC, file, thread, NULL, 0); \
    unlock(); \
    int failed = call; \
    if (failed) return failed; \
    lock(); \
    record(other == PARENT ? PARENT_SYNCED : other == FOLDER ? FOLDER_SYNCED : SYNCED, file, thread, NULL, 0); \
    unlock(); \
    return 0

int fsync(int fd) { NEXT(fsync); RECORDED_SYNC(next(fd)); }
int fdatasync(int fd) { NEXT(fdatasync); RECORDED_SYNC(next(fd)); }

#define RECORDED_OPEN(call) \
    char whole[PATH_MAX]; \
    const char *name = flags & (O_CREAT | O_TRUNC) ? named(path, whole) : NULL; \
    if (!name) return call; \
    lock(); \
    int before = errno; \
    int is_new = inode_at(whole) == 0; \
    errno = before; \
    int fd = call; \
    if (fd >= 0 && is_new) record(CREATE, inode_at(whole), 0, name, strlen(name)); \
    else if (fd >= 0 && flags & O_TRUNC) length_changed(fd, inode_at(whole)); \
    unlock(); \
    return fd

#define MODE_GIVEN \
    va_list given; \
    va_start(given, flags); \
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(given, int) : 0; \
    va_end(given)

int open(const char *path, int flags, ...) { NEXT(open); MODE_GIVEN; RECORDED_OPEN(next(path, flags, mode)); }
int open64(const char *path, int flags, ...) { NEXT(open64); MODE_GIVEN; RECORDED_OPEN(next(path, flags, mode)); }
/* Relative to another folder than the current one only by programs that are not tested here; the comparison would tell. */
int openat(int at, const char *path, int flags, ...) { NEXT(openat); MODE_GIVEN; RECORDED_OPEN(next(at, path, flags, mode)); }
int openat64(int at, const char *path, int flags, ...) { NEXT(openat64); MODE_GIVEN; RECORDED_OPEN(next(at, path, flags, mode)); }

int unlink(const char *path) {
    NEXT(unlink);
    char whole[PATH_MAX];
    const char *name = named(path, whole);
    if (!name) return next(path);
    lock();
    int failed = next(path);
    if (!failed) record(UNLINK, 0, 0, name, strlen(name));
    unlock();
    return failed;
}

/* Within the folder: `from`, a zero, `to`. Files that come into it, or leave it, are not recorded; the comparison would tell. */
int rename(const char *from, const char *to) {
    NEXT(rename);
    char whole_from[PATH_MAX], whole_to[PATH_MAX], both[2 * PATH_MAX];
    const char *name_from = named(from, whole_from), *name_to = named(to, whole_to);
    if (!name_from || !name_to) return next(from, to);
    lock();
    int failed = next(from, to);
    if (!failed) {
        size_t first = strlen(name_from) + 1, second = strlen(name_to);
        memcpy(both, name_from, first);
        memcpy(both + first, name_to, second);
        record(RENAME, 0, 0, both, first + second);
    }
    unlock();
    return failed;
}
