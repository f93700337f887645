/* Counts what a program asks of its machine: preloaded into the program under test, which knows nothing of it. The counts are in a file
   that is mapped into memory, so that another process reads them while the program runs, at no cost to the program.

   AMENDS_METER: that file. Its layout is `struct meter`, which `meter.rs` reads.

   What is seen is what goes through the C library's exported functions. Rust's standard library and parking_lot make their futex calls by
   `syscall`, and are seen; the futex calls inside the C library itself (a contended pthread mutex) are not. The parts of a database file
   that are mapped into memory (the `-shm`) are written without a call, and are not seen either.

   Names of files stand behind descriptors: each descriptor is looked up once, when it is first written to, and forgotten when it is
   closed. What leads where standard output leads is the log. Files without a name (those that SQLite sorts and spills into) are one. For glibc only, whose allocator has names of its own besides the standard ones: looking up `malloc` would allocate. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Names longer than this are cut off at their front. */
#define NAME_MAX_BYTES 192
#define FILES_MAX 128
#define DESCRIPTORS_MAX 65536
/* A frame of SQLite's write-ahead log has a header of this many bytes, written by a call of its own; the log itself begins with one of 32. */
#define WAL_FRAME_HEADER 24
#define WAL_HEADER 32

typedef _Atomic uint64_t count;

struct file {
    char name[NAME_MAX_BYTES];
    count writes, bytes, syncs, truncations, frames;
};

struct meter {
    count allocations, allocated_bytes, futexes, randoms;
    count sends, sent_bytes, wakes;
    count log_writes, log_lines, log_bytes;
    count files;
    struct file file[FILES_MAX];
};

/* What a descriptor is; from `A_FILE` on, which file. */
enum { UNKNOWN, SOCKET, WAKE, LOG, OTHER, A_FILE };

static struct meter unshared;
static struct meter *meter = &unshared;
static _Atomic uint8_t descriptor[DESCRIPTORS_MAX];
static atomic_flag naming = ATOMIC_FLAG_INIT;
/* Where standard output led at the start. */
static char log_path[PATH_MAX];

static void add(count *to, uint64_t by) { atomic_fetch_add_explicit(to, by, memory_order_relaxed); }

static int path_of(int fd, char *path) {
    char link[32] = "/proc/self/fd/", digits[12];
    int length = 0, rest = fd;
    do { digits[length++] = (char)('0' + rest % 10); } while (rest /= 10);
    char *end = link + strlen(link);
    while (length) *end++ = digits[--length];
    *end = 0;
    ssize_t got = readlink(link, path, PATH_MAX - 1);
    path[got < 0 ? 0 : got] = 0;
    return got > 0;
}

__attribute__((constructor)) static void share(void) {
    path_of(STDOUT_FILENO, log_path);
    const char *path = getenv("AMENDS_METER");
    if (!path) return;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return;
    if (syscall(SYS_ftruncate, fd, sizeof(struct meter)) == 0) {
        void *at = mmap(NULL, sizeof(struct meter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED) meter = at;
    }
    syscall(SYS_close, fd);
}

static uint8_t file_named(const char *name) {
    while (atomic_flag_test_and_set_explicit(&naming, memory_order_acquire)) {}
    uint64_t files = atomic_load(&meter->files), at = 0;
    while (at < files && strcmp(meter->file[at].name, name) != 0) at++;
    if (at == files && files < FILES_MAX) {
        strcpy(meter->file[at].name, name);
        atomic_store(&meter->files, files + 1);
    }
    atomic_flag_clear_explicit(&naming, memory_order_release);
    return at < FILES_MAX ? (uint8_t)(A_FILE + at) : OTHER;
}

static int ends_in(const char *text, const char *end) {
    size_t length = strlen(text), least = strlen(end);
    return length >= least && strcmp(text + length - least, end) == 0;
}

static uint8_t looked_up(int fd) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return OTHER;
    if (strcmp(path, log_path) == 0) return LOG;
    if (strncmp(path, "socket:", 7) == 0) return SOCKET;
    if (strcmp(path, "anon_inode:[eventfd]") == 0) return WAKE;
    if (path[0] != '/' || strncmp(path, "/dev/", 5) == 0) return OTHER;
    if (ends_in(path, " (deleted)")) return file_named("(temporary)");
    size_t length = strlen(path);
    return file_named(length < NAME_MAX_BYTES ? path : path + length - (NAME_MAX_BYTES - 1));
}

static uint8_t kind(int fd) {
    if (fd < 0 || fd >= DESCRIPTORS_MAX) return OTHER;
    uint8_t known = atomic_load_explicit(&descriptor[fd], memory_order_relaxed);
    if (known == UNKNOWN) {
        int before = errno;
        known = looked_up(fd);
        errno = before;
        atomic_store_explicit(&descriptor[fd], known, memory_order_relaxed);
    }
    return known;
}

static struct file *file_of(int fd) {
    uint8_t is = kind(fd);
    return is >= A_FILE ? &meter->file[is - A_FILE] : NULL;
}

static uint64_t lines_in(const char *text, size_t length) {
    uint64_t lines = 0;
    for (const char *end = text + length; (text = memchr(text, '\n', (size_t)(end - text))) != NULL; text++) lines++;
    return lines;
}

/* Before the call, so that what it does to a frame is known whether or not the buffer is changed meanwhile. */
static void wrote(int fd, const struct iovec *from, int parts, off64_t at) {
    uint64_t bytes = 0;
    for (int part = 0; part < parts; part++) bytes += from[part].iov_len;
    uint8_t is = kind(fd);
    if (is == LOG) {
        add(&meter->log_writes, 1);
        add(&meter->log_bytes, bytes);
        for (int part = 0; part < parts; part++) add(&meter->log_lines, lines_in(from[part].iov_base, from[part].iov_len));
        return;
    }
    if (is == SOCKET) {
        add(&meter->sends, 1);
        add(&meter->sent_bytes, bytes);
    } else if (is == WAKE) {
        add(&meter->wakes, 1);
    } else if (is >= A_FILE) {
        struct file *file = &meter->file[is - A_FILE];
        add(&file->writes, 1);
        add(&file->bytes, bytes);
        if (ends_in(file->name, "-wal") && bytes == WAL_FRAME_HEADER && at >= WAL_HEADER) add(&file->frames, 1);
    }
}

static void wrote_one(int fd, const void *from, size_t length, off64_t at) {
    struct iovec one = {(void *)from, length};
    wrote(fd, &one, 1, at);
}

static void sent(int fd, uint64_t bytes) {
    (void)fd;
    add(&meter->sends, 1);
    add(&meter->sent_bytes, bytes);
}

static void synced(int fd) {
    struct file *file = file_of(fd);
    if (file) add(&file->syncs, 1);
}

static void truncated(int fd) {
    struct file *file = file_of(fd);
    if (file) add(&file->truncations, 1);
}

#define NEXT(name) \
    static __typeof__(name) *next; \
    if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *from, size_t length) { NEXT(write); wrote_one(fd, from, length, -1); return next(fd, from, length); }
ssize_t writev(int fd, const struct iovec *from, int parts) { NEXT(writev); wrote(fd, from, parts, -1); return next(fd, from, parts); }
ssize_t pwrite(int fd, const void *from, size_t length, off_t at) { NEXT(pwrite); wrote_one(fd, from, length, at); return next(fd, from, length, at); }
ssize_t pwrite64(int fd, const void *from, size_t length, off64_t at) { NEXT(pwrite64); wrote_one(fd, from, length, at); return next(fd, from, length, at); }
ssize_t send(int fd, const void *from, size_t length, int flags) { NEXT(send); sent(fd, length); return next(fd, from, length, flags); }
ssize_t sendto(int fd, const void *from, size_t length, int flags, const struct sockaddr *to, socklen_t size) {
    NEXT(sendto);
    sent(fd, length);
    return next(fd, from, length, flags, to, size);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    NEXT(sendmsg);
    uint64_t bytes = 0;
    for (size_t part = 0; part < message->msg_iovlen; part++) bytes += message->msg_iov[part].iov_len;
    sent(fd, bytes);
    return next(fd, message, flags);
}
int fsync(int fd) { NEXT(fsync); synced(fd); return next(fd); }
int fdatasync(int fd) { NEXT(fdatasync); synced(fd); return next(fd); }
int ftruncate(int fd, off_t length) { NEXT(ftruncate); truncated(fd); return next(fd, length); }
int ftruncate64(int fd, off64_t length) { NEXT(ftruncate64); truncated(fd); return next(fd, length); }

int close(int fd) {
    NEXT(close);
    if (fd >= 0 && fd < DESCRIPTORS_MAX) atomic_store_explicit(&descriptor[fd], UNKNOWN, memory_order_relaxed);
    return next(fd);
}

ssize_t getrandom(void *into, size_t length, unsigned flags) { NEXT(getrandom); add(&meter->randoms, 1); return next(into, length, flags); }

long syscall(long number, ...) {
    NEXT(syscall);
    va_list given;
    va_start(given, number);
    long a = va_arg(given, long), b = va_arg(given, long), c = va_arg(given, long);
    long d = va_arg(given, long), e = va_arg(given, long), f = va_arg(given, long);
    va_end(given);
    if (number == SYS_futex) add(&meter->futexes, 1);
    if (number == SYS_getrandom) add(&meter->randoms, 1);
    return next(number, a, b, c, d, e, f);
}

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static void allocated(size_t bytes) {
    add(&meter->allocations, 1);
    add(&meter->allocated_bytes, bytes);
}

void *malloc(size_t bytes) { allocated(bytes); return __libc_malloc(bytes); }
void *calloc(size_t count, size_t bytes) { allocated(count * bytes); return __libc_calloc(count, bytes); }
void *realloc(void *from, size_t bytes) { allocated(bytes); return __libc_realloc(from, bytes); }
void *memalign(size_t to, size_t bytes) { allocated(bytes); return __libc_memalign(to, bytes); }
void *aligned_alloc(size_t to, size_t bytes) { allocated(bytes); return __libc_memalign(to, bytes); }
int posix_memalign(void **into, size_t to, size_t bytes) {
    allocated(bytes);
    *into = __libc_memalign(to, bytes);
    return *into ? 0 : ENOMEM;
}
