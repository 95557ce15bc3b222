/* Ends the process, or fails one operation, at a chosen change of a file. Loaded with LD_PRELOAD into the program under test;
 * steps.rs is the other half and has the words of the control file.
 *
 * A step is a call that changes a file or a folder below one of the roots. All steps of a process come one after the other.
 * Three ways to break off, before the step is done:
 *   KILL   as kill -9 does: what was written is there, synced or not.
 *   POWER  as a power cut does at its worst: the contents of files go back to what was synced last. Names are taken to be
 *          durable at once, as on a journalling file system.
 *   FAIL   the step answers ENOSPC or EIO, once, and the process goes on.
 *   STOP   the process stands still, as with SIGSTOP, until somebody lets it go on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { KILL = 1, POWER = 2, FAIL = 3, STOP = 4 };

struct control {
    volatile uint64_t armed;
    volatile uint64_t mode;
    volatile uint64_t at;
    volatile uint64_t count;
    volatile uint64_t hit;
    char what[472];
};

struct undo {
    dev_t device;
    ino_t inode;
    int file;
    off_t offset, size;
    size_t length;
    char *bytes;
    struct undo *before;
};

static struct control *control;
static const char *roots;
static struct undo *newest;
static int trace = -1;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("STEPS_CONTROL");
    roots = getenv("STEPS_ROOTS");
    if (!path || !roots) return;
    int file = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (file < 0) return;
    void *memory = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    if (memory != MAP_FAILED) control = memory;
    char name[PATH_MAX];
    if (snprintf(name, sizeof name, "%s.trace", path) > 0)
        trace = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

/* Below a root, and not RocksDB's own log of what it does. */
static int counts(const char *path) {
    const char *name = strrchr(path, '/');
    if (!name || strncmp(name + 1, "LOG", 3) == 0) return 0;
    for (const char *root = roots; *root;) {
        size_t length = strcspn(root, ":");
        if (strncmp(path, root, length) == 0 && (path[length] == '/' || !path[length])) return 1;
        root += length + (root[length] == ':');
    }
    return 0;
}

static int path_of(int file, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return 1;
}

static void forget(dev_t device, ino_t inode) {
    for (struct undo **at = &newest; *at;) {
        struct undo *one = *at;
        if (one->device != device || one->inode != inode) {
            at = &one->before;
            continue;
        }
        *at = one->before;
        syscall(SYS_close, one->file);
        free(one->bytes);
        free(one);
    }
}

/* Keeps what `length` bytes from `offset` on were; a negative offset: from where the file stands. */
static void remember(int file, off_t offset, size_t length) {
    struct stat stat;
    char link[64];
    if (control->mode != POWER || fstat(file, &stat) || !S_ISREG(stat.st_mode)) return;
    if (offset < 0) offset = fcntl(file, F_GETFL) & O_APPEND ? stat.st_size : lseek(file, 0, SEEK_CUR);
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    struct undo *one = calloc(1, sizeof *one);
    one->file = syscall(SYS_openat, AT_FDCWD, link, O_RDWR | O_CLOEXEC, 0);
    one->device = stat.st_dev, one->inode = stat.st_ino, one->size = stat.st_size, one->offset = offset;
    if (offset < stat.st_size) {
        one->length = length < (size_t)(stat.st_size - offset) ? length : (size_t)(stat.st_size - offset);
        one->bytes = malloc(one->length);
        ssize_t read = syscall(SYS_pread64, one->file, one->bytes, one->length, offset);
        one->length = read < 0 ? 0 : (size_t)read;
    }
    one->before = newest, newest = one;
}

static void undo_all(void) {
    for (struct undo *one = newest; one; one = one->before) {
        if (one->length) syscall(SYS_pwrite64, one->file, one->bytes, one->length, one->offset);
        syscall(SYS_ftruncate, one->file, one->size);
    }
}

/* What becomes of a call: it is none of ours, goes on and holds the turn, or fails and holds the turn. */
enum { STRANGE, GOES_ON, FAILS };

/* Takes the turn, if the call is a step. Does not return if the process is to end. */
static int step(const char *call, const char *path) {
    if (!path || !counts(path)) return STRANGE;
    pthread_mutex_lock(&turn);
    if (!control->armed) return GOES_ON;
    /* A sync changes nothing that outlives the process: for KILL it is no step. */
    if (control->mode == KILL && strstr(call, "sync")) return GOES_ON;
    if (control->at == 0) {
        char line[PATH_MAX + 16];
        int length = snprintf(line, sizeof line, "%s %s\n", call, path);
        if (length > 0) syscall(SYS_write, trace, line, (size_t)length);
    }
    if (++control->count != control->at) return GOES_ON;
    snprintf(control->what, sizeof control->what, "%s %s", call, path);
    control->hit = 1;
    if (control->mode == FAIL) {
        errno = strstr(call, "sync") || strstr(call, "unlink") ? EIO : ENOSPC;
        return FAILS;
    }
    if (control->mode == STOP) {
        kill(getpid(), SIGSTOP);
        return GOES_ON;
    }
    if (control->mode == POWER) undo_all();
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Before the process is armed only POWER wants to see anything: what is not synced. */
static int is_idle(void) { return !control || (!control->armed && control->mode != POWER); }

static int file_step(const char *call, int file) {
    char path[PATH_MAX];
    if (is_idle()) return STRANGE;
    return step(call, path_of(file, path) ? path : NULL);
}

#define RUN(type, what, before, real)                               \
    do {                                                            \
        int is = (what);                                            \
        if (is == STRANGE) return (type)(real);                     \
        if (is == GOES_ON) before;                                  \
        type answer = is == FAILS ? -1 : (type)(real);              \
        int error = errno;                                          \
        pthread_mutex_unlock(&turn);                                \
        errno = error;                                              \
        return answer;                                              \
    } while (0)

static int absolute(int folder, const char *path, char whole[PATH_MAX]) {
    if (path[0] == '/') return snprintf(whole, PATH_MAX, "%s", path) > 0;
    char base[PATH_MAX];
    if (folder == AT_FDCWD ? !getcwd(base, sizeof base) : !path_of(folder, base)) return 0;
    return snprintf(whole, PATH_MAX, "%s/%s", base, path) > 0;
}

static int name_step(const char *call, int folder, const char *path) {
    char whole[PATH_MAX];
    if (is_idle()) return STRANGE;
    return step(call, absolute(folder, path, whole) ? whole : NULL);
}

static size_t total(const struct iovec *parts, int number) {
    size_t sum = 0;
    for (int at = 0; at < number; at++) sum += parts[at].iov_len;
    return sum;
}

ssize_t write(int file, const void *bytes, size_t length) {
    RUN(ssize_t, file_step("write", file), remember(file, -1, length), syscall(SYS_write, file, bytes, length));
}
ssize_t pwrite(int file, const void *bytes, size_t length, off_t offset) {
    RUN(ssize_t, file_step("pwrite", file), remember(file, offset, length),
        syscall(SYS_pwrite64, file, bytes, length, offset));
}
ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t offset) { return pwrite(file, bytes, length, offset); }
ssize_t writev(int file, const struct iovec *parts, int number) {
    RUN(ssize_t, file_step("writev", file), remember(file, -1, total(parts, number)),
        syscall(SYS_writev, file, parts, number));
}
int ftruncate(int file, off_t size) {
    RUN(int, file_step("ftruncate", file), remember(file, size, SIZE_MAX / 2), syscall(SYS_ftruncate, file, size));
}
int ftruncate64(int file, off64_t size) { return ftruncate(file, size); }

static int synced(int file, int answer) {
    struct stat stat;
    if (newest && answer == 0 && fstat(file, &stat) == 0) forget(stat.st_dev, stat.st_ino);
    return answer;
}
int fsync(int file) { RUN(int, file_step("fsync", file), (void)0, synced(file, syscall(SYS_fsync, file))); }
int fdatasync(int file) { RUN(int, file_step("fdatasync", file), (void)0, synced(file, syscall(SYS_fdatasync, file))); }

static int opened(int folder, const char *path, int flags, mode_t mode) {
    struct stat stat;
    int makes = !is_idle() && ((flags & O_CREAT && (flags & O_EXCL || fstatat(folder, path, &stat, 0))) || flags & O_TRUNC);
    int what = makes ? name_step("open", folder, path) : STRANGE;
    RUN(int, what, (void)0, syscall(SYS_openat, folder, path, flags, mode));
}
#define OPENS(name, folder, ...)                        \
    int name(__VA_ARGS__, int flags, ...) {             \
        va_list more;                                   \
        va_start(more, flags);                          \
        mode_t mode = va_arg(more, mode_t);             \
        va_end(more);                                   \
        return opened(folder, path, flags, mode);       \
    }
OPENS(open, AT_FDCWD, const char *path)
OPENS(open64, AT_FDCWD, const char *path)
OPENS(openat, folder, int folder, const char *path)
OPENS(openat64, folder, int folder, const char *path)

int rename(const char *from, const char *to) {
    RUN(int, name_step("rename", AT_FDCWD, to), (void)0, syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to));
}
int link(const char *from, const char *to) {
    RUN(int, name_step("link", AT_FDCWD, to), (void)0, syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int unlink(const char *path) {
    RUN(int, name_step("unlink", AT_FDCWD, path), (void)0, syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}
int unlinkat(int folder, const char *path, int flags) {
    RUN(int, name_step("unlinkat", folder, path), (void)0, syscall(SYS_unlinkat, folder, path, flags));
}
int rmdir(const char *path) {
    RUN(int, name_step("rmdir", AT_FDCWD, path), (void)0, syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR));
}
int mkdir(const char *path, mode_t mode) {
    RUN(int, name_step("mkdir", AT_FDCWD, path), (void)0, syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}
