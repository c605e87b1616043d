/* An XML body, whole and in pieces as long as the second byte says; the first
 * one chooses the kind.  Both ways say the same, and what was read can be
 * written. */
#include "api/s3_body.h"
#include "api/s3_xml.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

#define ANSWER_MAX (64 * 1024 * 1024)

static void write_result(const struct s3_body_result *r, struct s3_xml *x)
{
    s3_xml_root(x, "R");
    for (size_t i = 0; i < r->n && r->objects; i++) {
        CHECK(r->objects[i].key.len > 0 && r->objects[i].key.len <= S3_BODY_TEXT_MAX);
        s3_xml_key(x, "Key", r->objects[i].key, i % 2);
        s3_xml_text(x, "Version", r->objects[i].version);
        s3_xml_etag(x, "ETag", r->objects[i].etag);
    }
    for (size_t i = 0; i < r->n && r->parts; i++) {
        CHECK(r->parts[i].number >= 1 && r->parts[i].number <= S3_BODY_PARTS_MAX);
        s3_xml_number(x, "PartNumber", r->parts[i].number);
        s3_xml_etag(x, "ETag", r->parts[i].etag);
    }
    s3_xml_text(x, "Location", r->location);
    s3_xml_close(x, "R");
}

static enum s3_error read_body(enum s3_body_kind kind, const char *data, size_t len, size_t piece,
                               struct s3_xml *x)
{
    struct s3_body_result result;
    struct s3_body *b;
    enum s3_error err = s3_body_open(&b, kind);

    CHECK(!err);
    for (size_t at = 0; at < len && !err; at += piece)
        err = s3_body_add(b, data + at, len - at < piece ? len - at : piece);
    if (!err) err = s3_body_end(b, &result);
    if (!err) write_result(&result, x);
    s3_body_close(b);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct s3_xml whole, cut;
    enum s3_body_kind kind;
    enum s3_error err;

    if (len < 2) return 0;
    s3_xml_init(&whole, ANSWER_MAX);
    s3_xml_init(&cut, ANSWER_MAX);
    kind = (enum s3_body_kind)(bytes[0] % 3);
    err = read_body(kind, (const char *)bytes + 2, len - 2, len, &whole);
    CHECK(read_body(kind, (const char *)bytes + 2, len - 2, (size_t)bytes[1] + 1, &cut) == err);
    CHECK(!whole.failed && !cut.failed && whole.len == cut.len);
    CHECK(whole.len == 0 || memcmp(whole.data, cut.data, whole.len) == 0);
    s3_xml_clear(&whole);
    s3_xml_clear(&cut);
    return 0;
}
