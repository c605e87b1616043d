#include "mkv/err.h"

#include <stddef.h>

static const struct {
    int http;
    const char *text;
} errors[] = {
#define X(name, http, text) [name] = {(http), (text)},
    MKV_ERR_MAP(X)
#undef X
};

#define ERRORS (sizeof(errors) / sizeof(errors[0]))

const char *mkv_strerror(enum mkv_err err)
{
    return (size_t)err < ERRORS ? errors[err].text : "unknown error";
}

int mkv_err_http(enum mkv_err err)
{
    return (size_t)err < ERRORS ? errors[err].http : 500;
}
