#include "run/http_client.h"

#include "base/mem.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>

/* A server that accepts and then says nothing is given up after this; longer
 * than any time the engine itself may take for one answer. */
#define ANSWER_SECONDS  120L
#define CONNECT_SECONDS 5L

struct http_client {
    char *base_url;
    CURL *curl; /* owns the connection that is kept open */
    struct curl_slist *headers;
    char reason[CURL_ERROR_SIZE];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_library(void)
{
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

static size_t keep_answer(char *bytes, size_t size, size_t count, void *answer)
{
    buf_add(answer, bytes, size * count);
    return size * count;
}

/* No proxy: an engine is spoken to directly, whatever the environment says
 * about the way to the internet. */
static void set_fixed_options(struct http_client *client)
{
    CURL *curl = client->curl;

    client->headers = curl_slist_append(NULL, "Content-Type: application/json");
    client->headers = curl_slist_append(client->headers, "Expect:");
    CHECK(client->headers != NULL);

    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->reason);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, ANSWER_SECONDS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_answer);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, client->headers);
}

/* Addresses are copied from where they end with a slash. */
static struct str without_slash(struct str url)
{
    if (str_ends(url, STR("/")))
        url.len--;
    return url;
}

static bool check_base_url(struct str url, struct err *err)
{
    struct str scheme = STR("http://");
    bool good = str_starts(url, scheme) && url.len > scheme.len &&
                memchr(url.ptr + scheme.len, '/', url.len - scheme.len) == NULL;

    return good || err_set(err, ERR_USAGE,
                           "\"%.*s\" is not the address of an engine: "
                           "http://HOST:PORT",
                           STR_ARG(url));
}

struct http_client *http_client_new(const char *base_url, struct err *err)
{
    struct str base = without_slash(str_of(base_url));

    if (!check_base_url(base, err))
        return NULL;

    pthread_once(&once, init_library);
    struct http_client *client = NEW(struct http_client);
    client->base_url = mem_strdup(base_url);
    client->base_url[base.len] = '\0';
    client->curl = curl_easy_init();
    CHECK(client->curl != NULL);
    set_fixed_options(client);
    return client;
}

void http_client_set_header(struct http_client *client, const char *name,
                            const char *value)
{
    struct buf header = {0};

    buf_printf(&header, "%s: %s", name, value);
    client->headers = curl_slist_append(client->headers, header.ptr);
    CHECK(client->headers != NULL);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, client->headers);
    buf_done(&header);
}

void http_client_set_token(struct http_client *client, const char *token)
{
    struct buf value = {0};

    buf_printf(&value, "Bearer %s", token);
    http_client_set_header(client, "Authorization", value.ptr);
    buf_done(&value);
}

void http_client_free(struct http_client *client)
{
    if (client == NULL)
        return;
    curl_easy_cleanup(client->curl);
    curl_slist_free_all(client->headers);
    mem_free(client->base_url);
    mem_free(client);
}

static void set_request(struct http_client *client, const char *method,
                        const char *url, struct str body, void *receiver)
{
    CURL *curl = client->curl;

    if (str_is_none(body)) {
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    } else {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.ptr);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                         (curl_off_t)body.len);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, receiver);
    client->reason[0] = '\0';
}

static bool fail_unanswered(struct http_client *client, CURLcode failed,
                            struct err *err)
{
    return err_set(err, ERR_STORE, "no answer from %s: %s", client->base_url,
                   client->reason[0] != '\0' ? client->reason
                                             : curl_easy_strerror(failed));
}

static CURLcode perform(struct http_client *client, const char *method,
                        const char *path_and_query, struct str body,
                        void *receiver, int *status_out)
{
    struct buf url = {0};
    long status = 0;

    buf_printf(&url, "%s%s", client->base_url, path_and_query);
    set_request(client, method, url.ptr, body, receiver);
    CURLcode failed = curl_easy_perform(client->curl);
    buf_done(&url);
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    *status_out = (int)status;
    return failed;
}

bool http_client_call(struct http_client *client, const char *method,
                      const char *path_and_query, struct str body,
                      int *status_out, struct buf *answer_out, struct err *err)
{
    int status = 0;
    CURLcode failed =
        perform(client, method, path_and_query, body, answer_out, &status);

    if (failed != CURLE_OK)
        return fail_unanswered(client, failed, err);
    *status_out = status;
    return true;
}

/* ---- an answer that goes on ---- */

struct streaming {
    const struct http_stream *stream;
    CURL *curl;
    struct buf *answer; /* of another status */
    bool enough;
};

/* Less than everything taken ends the transfer. */
static size_t hand_out(char *bytes, size_t size, size_t count, void *arg)
{
    struct streaming *s = arg;
    size_t len = size * count;
    long status = 0;

    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        buf_add(s->answer, bytes, len);
    else
        s->enough = !s->stream->take(s->stream->arg, str_n(bytes, len));
    return s->enough ? 0 : len;
}

static int ask_on(void *arg, curl_off_t down_all UNUSED, curl_off_t down UNUSED,
                  curl_off_t up_all UNUSED, curl_off_t up UNUSED)
{
    struct streaming *s = arg;

    s->enough = s->enough || !s->stream->go_on(s->stream->arg);
    return s->enough;
}

static void begin_streaming(struct http_client *client, struct streaming *s)
{
    CURL *curl = client->curl;

    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 0L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                     (long)s->stream->silence_seconds);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, hand_out);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, ask_on);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, s);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

static void end_streaming(struct http_client *client)
{
    CURL *curl = client->curl;

    curl_easy_setopt(curl, CURLOPT_TIMEOUT, ANSWER_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 0L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_answer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 1L);
}

bool http_client_stream(struct http_client *client, const char *path_and_query,
                        const struct http_stream *stream, int *status_out,
                        struct buf *answer_out, struct err *err)
{
    struct streaming s = {
        .stream = stream, .curl = client->curl, .answer = answer_out};
    int status = 0;

    begin_streaming(client, &s);
    CURLcode failed =
        perform(client, "GET", path_and_query, STR_NONE, &s, &status);
    end_streaming(client);
    if (failed != CURLE_OK && !s.enough)
        return fail_unanswered(client, failed, err);
    *status_out = status;
    return true;
}
