/* A load client for Server-Sent Events: many streams in one thread, and how late every frame came to each.
 *
 *   cc -O2 -o viewers viewers.c
 *   viewers PORT STREAMS STOPPED EXPECT_DATA PAUSE_US < requests-and-commands
 *
 * First line of standard input: how many requests follow. Each is a line: a path, and after a tab each a header.
 * The streams take the requests in turn. All connect, PAUSE_US apart; when all have answered (200, and a first data line when
 * EXPECT_DATA is 1) a JSON line is printed. The first STOPPED streams are not read from then on; their segments are of
 * Ethernet's size, or the kernel would keep megabytes for each on the loopback device.
 * Then commands, a line each:
 *
 *   mark          forget what was counted
 *   report        a JSON line: what was counted since the last mark
 *   until STAMP   a JSON line once every stream that is read has seen a frame with a stamp of at least STAMP
 *
 * A frame's stamp is a number of 16 digits after "@t=" in its data: microseconds since the epoch. Lateness is the
 * clock at the read that brought it, less the stamp. The end of standard input ends it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SUB = 64, POWERS = 40, LINE = 16384, COMMANDS = 0xffffffff };

typedef struct {
    int fd, status_seen, data_matched, stamp_matched, digits, answered, lost, stopped, caught;
    char status[16];
    long frames;
    unsigned long long stamp, newest;
} Stream;

static const char DATA[] = "\ndata:", STAMP[] = "@t=";
static long buckets[SUB * POWERS]; /* lateness in microseconds: 64 for each power of two */
static long frames, bytes, reads, odd, stamped;
static int n, answered, opened, refused, closed, lost, stopped_count, expect_data;
static double began, opened_at;
static unsigned long long until;
static int waiting, caught;

static double monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static unsigned long long epoch_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (unsigned long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int bucket(unsigned long long us) {
    int power = 0;
    while ((us >> power) >= 2 * SUB) power++;
    int index = power * SUB + (int)(us >> power); /* below 64 us exact */
    return index < SUB * POWERS ? index : SUB * POWERS - 1;
}

static double bucket_us(int index) {
    if (index < 2 * SUB) return index;
    int power = index / SUB - 1;
    return ((double)(index - power * SUB) + 0.5) * (1ull << power);
}

static double percentile(double part) {
    long rank = (long)(part * stamped), seen = 0;
    for (int i = 0; i < SUB * POWERS; i++) {
        seen += buckets[i];
        if (seen > rank) return bucket_us(i);
    }
    return 0;
}

static void take_stamp(Stream *s, unsigned long long now) {
    buckets[bucket(now > s->stamp ? now - s->stamp : 0)]++;
    stamped++;
    if (s->stamp > s->newest) s->newest = s->stamp;
    if (waiting && !s->caught && !s->stopped && s->newest >= until) { s->caught = 1; caught++; }
}

static void answer(Stream *s, int *kind) {
    if (s->answered) return;
    s->answered = 1;
    answered++;
    ++*kind;
}

static void lose(Stream *s) {
    if (!s->lost && !s->caught && !s->stopped) lost++;
    s->lost = 1;
}

static void parse(Stream *s, const char *buf, ssize_t got, unsigned long long now) {
    for (ssize_t k = 0; k < got; k++) {
        char c = buf[k];
        if (s->status_seen < 12) { /* "HTTP/1.1 200" */
            s->status[s->status_seen++] = c;
            if (s->status_seen == 12 && memcmp(s->status + 8, " 200", 4)) {
                answer(s, &refused);
                lose(s);
            } else if (s->status_seen == 12 && !expect_data) {
                answer(s, &opened);
            }
        }
        if (c == DATA[s->data_matched]) {
            if (!DATA[++s->data_matched]) {
                s->data_matched = 0;
                s->frames++;
                frames++;
                answer(s, &opened);
            }
        } else {
            s->data_matched = c == DATA[0];
        }
        if (s->stamp_matched == 3) {
            if (c >= '0' && c <= '9') {
                s->stamp = s->stamp * 10 + (c - '0');
                s->digits++;
                continue;
            }
            if (s->digits == 16) take_stamp(s, now); else odd++;
            s->stamp_matched = 0;
        }
        if (c == STAMP[s->stamp_matched]) {
            if (++s->stamp_matched == 3) s->stamp = s->digits = 0;
        } else {
            s->stamp_matched = c == STAMP[0];
        }
    }
}

static void report(Stream *streams) {
    long least = -1, most = 0;
    for (int i = 0; i < n; i++) {
        if (streams[i].stopped) continue;
        if (least < 0 || streams[i].frames < least) least = streams[i].frames;
        if (streams[i].frames > most) most = streams[i].frames;
    }
    printf("{\"frames\": %ld, \"stamped\": %ld, \"bytes\": %ld, \"reads\": %ld, \"least\": %ld, \"most\": %ld, "
           "\"closed\": %d, \"odd\": %ld, \"p50_us\": %.0f, \"p99_us\": %.0f, \"max_us\": %.0f}\n",
           frames, stamped, bytes, reads, least, most, closed, odd, percentile(0.5), percentile(0.99),
           percentile(1 - 1e-12));
    fflush(stdout);
}

static void mark(Stream *streams) {
    memset(buckets, 0, sizeof buckets);
    frames = bytes = reads = odd = stamped = 0;
    for (int i = 0; i < n; i++) streams[i].frames = 0;
}

static void command(Stream *streams, const char *line) {
    if (!strncmp(line, "mark", 4)) {
        mark(streams);
        printf("{}\n");
        fflush(stdout);
    } else if (!strncmp(line, "report", 6)) {
        report(streams);
    } else if (!strncmp(line, "until ", 6)) {
        until = strtoull(line + 6, 0, 10);
        waiting = 1;
        caught = lost = 0;
        for (int i = 0; i < n; i++) {
            Stream *s = &streams[i];
            s->caught = !s->stopped && s->newest >= until;
            caught += s->caught;
            lost += s->lost && !s->caught && !s->stopped;
        }
    } else {
        fprintf(stderr, "viewers: unknown command: %s\n", line);
        exit(2);
    }
}

/* One line, without its end, read byte by byte: what follows it belongs to the next. 0 at the end of the input. */
static int read_line(char *line) {
    int length = 0;
    while (length < LINE - 1) {
        ssize_t got = read(0, line + length, 1);
        if (got <= 0) return 0;
        if (line[length] == '\n') break;
        length++;
    }
    line[length] = 0;
    return 1;
}

static char *request(const char *line) {
    char *text = malloc(strlen(line) * 2 + 256), *copy = strdup(line), *rest = copy;
    char *field = strsep(&rest, "\t");
    int length = sprintf(text, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n", field);
    while ((field = strsep(&rest, "\t"))) length += sprintf(text + length, "%s\r\n", field);
    strcpy(text + length, "\r\n");
    free(copy);
    return text;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: viewers PORT STREAMS STOPPED EXPECT_DATA PAUSE_US\n");
        return 2;
    }
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    n = atoi(argv[2]);
    stopped_count = atoi(argv[3]);
    expect_data = atoi(argv[4]);
    const int pause = atoi(argv[5]);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    static char line[LINE];
    if (!read_line(line)) return 2;
    int kinds = atoi(line);
    char **requests = calloc(kinds, sizeof *requests);
    for (int i = 0; i < kinds; i++) {
        if (!read_line(line)) return 2;
        requests[i] = request(line);
    }
    Stream *streams = calloc(n, sizeof *streams);
    int ep = epoll_create1(0);
    struct epoll_event stdin_event = {.events = EPOLLIN, .data.u32 = COMMANDS};
    epoll_ctl(ep, EPOLL_CTL_ADD, 0, &stdin_event);
    began = monotonic();
    for (int i = 0; i < n; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0), small = 4096, segment = 1400;
        const char *text = requests[i % kinds];
        if (i < stopped_count) {
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
            setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
        }
        if (connect(fd, (void *)&addr, sizeof addr) || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
            perror("viewers: connect");
            return 1;
        }
        fcntl(fd, F_SETFL, O_NONBLOCK);
        streams[i].fd = fd;
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        if (pause) usleep(pause);
    }
    static char buf[1 << 18];
    struct epoll_event events[1024];
    for (;;) {
        int ready = epoll_wait(ep, events, 1024, -1);
        for (int j = 0; j < ready; j++) {
            if (events[j].data.u32 == COMMANDS) {
                if (!read_line(line)) return 0;
                command(streams, line);
                continue;
            }
            Stream *s = &streams[events[j].data.u32];
            ssize_t got = read(s->fd, buf, sizeof buf);
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            if (got <= 0) {
                closed++;
                answer(s, &refused);
                lose(s);
                epoll_ctl(ep, EPOLL_CTL_DEL, s->fd, 0);
                continue;
            }
            bytes += got;
            reads++;
            parse(s, buf, got, epoch_us());
        }
        if (!opened_at && answered == n) {
            opened_at = monotonic();
            for (int i = 0; i < stopped_count; i++) {
                streams[i].stopped = 1;
                epoll_ctl(ep, EPOLL_CTL_DEL, streams[i].fd, 0);
            }
            printf("{\"seconds\": %.4f, \"opened\": %d, \"refused\": %d}\n", opened_at - began, opened, refused);
            fflush(stdout);
        }
        if (waiting && caught >= n - stopped_count - lost) {
            waiting = 0;
            printf("{\"seconds\": %.4f, \"caught\": %d}\n", monotonic() - began, caught);
            fflush(stdout);
        }
    }
}
