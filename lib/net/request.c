#include "net/request.h"

bool mkv_request_header(const struct mkv_request *r, struct mkv_slice name, struct mkv_slice *value)
{
    for (size_t i = 0; i < r->nheaders; i++) {
        if (mkv_slice_ieq(r->headers[i].name, name)) {
            *value = r->headers[i].value;
            return true;
        }
    }
    return false;
}
