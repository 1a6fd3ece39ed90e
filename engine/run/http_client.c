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
    if (!check_base_url(str_of(base_url), err))
        return NULL;

    pthread_once(&once, init_library);
    struct http_client *client = NEW(struct http_client);
    client->base_url = mem_strdup(base_url);
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
                        const char *url, struct str body, struct buf *answer)
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
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    client->reason[0] = '\0';
}

bool http_client_call(struct http_client *client, const char *method,
                      const char *path_and_query, struct str body,
                      int *status_out, struct buf *answer_out, struct err *err)
{
    struct buf url = {0};
    long status = 0;

    buf_printf(&url, "%s%s", client->base_url, path_and_query);
    set_request(client, method, url.ptr, body, answer_out);
    CURLcode failed = curl_easy_perform(client->curl);
    buf_done(&url);
    if (failed != CURLE_OK)
        return err_set(err, ERR_STORE, "no answer from %s: %s",
                       client->base_url,
                       client->reason[0] != '\0' ? client->reason
                                                 : curl_easy_strerror(failed));

    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    *status_out = (int)status;
    return true;
}
