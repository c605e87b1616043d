#include "api/s3_error.h"

static const struct {
    int http;
    const char *code, *message;
} errors[] = {
#define X(name, http, code, message) {http, code, message},
    S3_ERROR_MAP(X)
#undef X
};

const char *s3_error_code(enum s3_error err)
{
    return errors[err].code;
}

const char *s3_error_message(enum s3_error err)
{
    return errors[err].message;
}

int s3_error_http(enum s3_error err)
{
    return errors[err].http;
}
