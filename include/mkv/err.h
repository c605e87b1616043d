/* include/mkv/err.h - every error the project knows: name, HTTP status, text.
 *
 * One line per error, so that code, status and text can not drift apart.
 * 0 is success.  The text is for people: it ends up in a response body or on
 * standard error, without a newline. */
#ifndef MKV_ERR_H
#define MKV_ERR_H

#define MKV_MUSTUSE __attribute__((warn_unused_result))
#define MKV_PRINTF(text, first) __attribute__((format(printf, text, first)))

#define MKV_ERR_MAP(X)                                                                            \
    X(MKV_OK, 200, "ok")                                                                          \
    X(MKV_PENDING, 500, "the answer follows")                                                     \
    X(MKV_ENOKEY, 404, "no such key")                                                             \
    X(MKV_EGONE, 410, "every volume that should hold this value says that it does not")           \
    X(MKV_EEXISTS, 403, "the key already holds a value: use REPLACE, or delete it first")         \
    X(MKV_EPROTECTED, 403, "the server runs with -protect: UNLINK the key before DELETE")         \
    X(MKV_EBUSY, 409, "another request is writing, deleting or moving this key")                  \
    X(MKV_EEMPTY, 411, "a value needs at least one byte: send a body")                            \
    X(MKV_EKEYLONG, 414, "the key is longer than 1089 bytes")                                     \
    X(MKV_EKEYNUL, 400, "the key holds a NUL byte")                                               \
    X(MKV_EKEYUTF8, 400, "the key is not valid UTF-8")                                            \
    X(MKV_EINVAL, 400, "the request makes no sense")                                              \
    X(MKV_ECANNOTMOVE, 400, "the key could not be brought to where it belongs")                   \
    X(MKV_EVOLUME, 500, "a volume did not answer as expected: see the server's log")              \
    X(MKV_ECANNOTASK, 503, "a volume that may hold this value can not be reached: try again")     \
    X(MKV_ETOOFEW, 503, "too few volumes can store the value just now: try again")                \
    X(MKV_ESHUTDOWN, 503, "the server is shutting down")                                          \
    X(MKV_ECLIENT, 400, "the client went away or sent a broken body")                             \
    X(MKV_ENOSPACE, 507, "no space left for the index: free disk space or raise -db-size")        \
    X(MKV_EINDEX, 500, "the index can not be read or written: see the server's log")              \
    X(MKV_ECORRUPT, 500, "the index holds a record that can not be decoded")                      \
    X(MKV_ENEWER, 500, "the index was made by a newer version: use that version")                 \
    X(MKV_ELOCKED, 500, "another program is using this index")                                    \
    X(MKV_EDNS, 500, "a volume's host name can not be resolved")                                  \
    X(MKV_EIO, 500, "input/output error")                                                         \
    X(MKV_ENOMEM, 500, "out of memory")

enum mkv_err {
#define X(name, http, text) name,
    MKV_ERR_MAP(X)
#undef X
};

const char *mkv_strerror(enum mkv_err err); /* never NULL */
int mkv_err_http(enum mkv_err err);         /* the HTTP status that says it */

#endif
