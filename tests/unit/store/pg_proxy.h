#pragma once
/*
 * A TCP proxy in front of the server, to lose messages at a chosen step: a
 * thread that copies bytes both ways, and one order that a test gives just
 * before the call whose fate it wants to decide.  Include after pg_support.h.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

enum proxy_order {
    PROXY_PASS,
    PROXY_DROP_REQUEST, /* the next request never arrives, and both sides close
                         */
    PROXY_DROP_ANSWER,  /* it arrives, and its answer is lost; both close */
};

#define PROXY_PAIRS 16

struct proxy {
    int listener;
    int port;
    pthread_t thread;
    int order;                 /* atomic */
    int stopping;              /* atomic */
    int pairs[PROXY_PAIRS][2]; /* client, server; the thread's */
    bool doomed[PROXY_PAIRS];
    int count;
};

static int proxy_connect(void)
{
    PQconninfoOption *options = PQconninfoParse(server_url(), NULL);
    const char *port = "5432";
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    for (PQconninfoOption *o = options; o->keyword != NULL; o++)
        if (strcmp(o->keyword, "port") == 0 && o->val != NULL)
            port = o->val;
    to.sin_port = htons((uint16_t)strtol(port, NULL, 10));
    PQconninfoFree(options);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        abort();
    return fd;
}

static void proxy_close(struct proxy *proxy, int pair)
{
    close(proxy->pairs[pair][0]);
    close(proxy->pairs[pair][1]);
    proxy->count--;
    memmove(proxy->pairs[pair], proxy->pairs[proxy->count],
            sizeof(proxy->pairs[0]));
    proxy->doomed[pair] = proxy->doomed[proxy->count];
}

/* False when the pair is to be closed. */
static bool proxy_copy(struct proxy *proxy, int pair, int side)
{
    char bytes[65536];
    ssize_t got = read(proxy->pairs[pair][side], bytes, sizeof(bytes));
    int order = __atomic_load_n(&proxy->order, __ATOMIC_SEQ_CST);

    if (got <= 0)
        return false;
    if (side == 1 && proxy->doomed[pair])
        return false;
    if (side == 0 && order != PROXY_PASS) {
        __atomic_store_n(&proxy->order, PROXY_PASS, __ATOMIC_SEQ_CST);
        if (order == PROXY_DROP_REQUEST)
            return false;
        proxy->doomed[pair] = true;
    }
    for (ssize_t sent = 0; sent < got;) {
        ssize_t n = send(proxy->pairs[pair][1 - side], bytes + sent,
                         (size_t)(got - sent), MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        sent += n;
    }
    return true;
}

static void proxy_step(struct proxy *proxy)
{
    struct pollfd fds[1 + 2 * PROXY_PAIRS];

    fds[0] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
    for (int i = 0; i < proxy->count * 2; i++)
        fds[1 + i] =
            (struct pollfd){.fd = proxy->pairs[i / 2][i % 2], .events = POLLIN};
    if (poll(fds, (nfds_t)(1 + proxy->count * 2), 20) <= 0)
        return;
    for (int i = proxy->count * 2 - 1; i >= 0; i--) {
        if (fds[1 + i].revents == 0)
            continue;
        if (!proxy_copy(proxy, i / 2, i % 2)) {
            proxy_close(proxy, i / 2);
            return; /* places have moved: look again */
        }
    }
    if (fds[0].revents != 0 && proxy->count < PROXY_PAIRS) {
        int pair = proxy->count++;

        proxy->pairs[pair][0] = accept(proxy->listener, NULL, NULL);
        proxy->pairs[pair][1] = proxy_connect();
        proxy->doomed[pair] = false;
    }
}

static void *proxy_run(void *arg)
{
    struct proxy *proxy = arg;

    while (!__atomic_load_n(&proxy->stopping, __ATOMIC_SEQ_CST))
        proxy_step(proxy);
    while (proxy->count > 0)
        proxy_close(proxy, 0);
    return NULL;
}

static void proxy_start(struct proxy *proxy)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);

    *proxy = (struct proxy){.listener = socket(AF_INET, SOCK_STREAM, 0)};
    if (bind(proxy->listener, (struct sockaddr *)&at, sizeof(at)) != 0 ||
        listen(proxy->listener, 16) != 0 ||
        getsockname(proxy->listener, (struct sockaddr *)&at, &size) != 0)
        abort();
    proxy->port = ntohs(at.sin_port);
    pthread_create(&proxy->thread, NULL, proxy_run, proxy);
}

static void proxy_stop(struct proxy *proxy)
{
    __atomic_store_n(&proxy->stopping, 1, __ATOMIC_SEQ_CST);
    pthread_join(proxy->thread, NULL);
    close(proxy->listener);
}

/* The program's database, through the proxy. */
static void proxy_url(const struct proxy *proxy, char url[512])
{
    snprintf(url, 512, "postgresql://%s@127.0.0.1:%d/%s", PQuser(admin),
             proxy->port, db_name);
}

static void proxy_order(struct proxy *proxy, enum proxy_order order)
{
    __atomic_store_n(&proxy->order, (int)order, __ATOMIC_SEQ_CST);
}
