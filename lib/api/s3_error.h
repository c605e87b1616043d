/* lib/api/s3_error.h - every error that S3 clients are told: code, HTTP
 * status, message.
 *
 * One line per error, so that they can not drift apart; 0 is success.  Clients
 * decide by the code, people read the message. */
#ifndef MKV_API_S3_ERROR_H
#define MKV_API_S3_ERROR_H

#define S3_ERROR_MAP(X)                                                                            \
    X(S3_OK, 200, "OK", "")                                                                        \
    /* who asks */                                                                                 \
    X(S3_ACCESS_DENIED, 403, "AccessDenied", "Access Denied")                                      \
    X(S3_INVALID_ACCESS_KEY_ID, 403, "InvalidAccessKeyId",                                         \
      "The access key id you provided is not known here.")                                         \
    X(S3_SIGNATURE_DOES_NOT_MATCH, 403, "SignatureDoesNotMatch",                                   \
      "The signature calculated here does not match the one you sent. Check your secret and how "  \
      "you sign.")                                                                                 \
    X(S3_REQUEST_TIME_TOO_SKEWED, 403, "RequestTimeTooSkewed",                                     \
      "The request's time and the server's differ by more than 15 minutes.")                       \
    X(S3_AUTHORIZATION_HEADER_MALFORMED, 400, "AuthorizationHeaderMalformed",                      \
      "The Authorization header is malformed.")                                                    \
    X(S3_AUTHORIZATION_QUERY_PARAMETERS_ERROR, 400, "AuthorizationQueryParametersError",           \
      "The query parameters of the signature are malformed or incomplete.")                        \
    X(S3_MISSING_SECURITY_HEADER, 400, "MissingSecurityHeader",                                    \
      "The request lacks a header that it needs.")                                                 \
    /* the request */                                                                              \
    X(S3_INVALID_ARGUMENT, 400, "InvalidArgument", "An argument is not valid.")                    \
    X(S3_INVALID_REQUEST, 400, "InvalidRequest", "The request is not valid.")                      \
    X(S3_INVALID_URI, 400, "InvalidURI", "The path can not be decoded.")                           \
    X(S3_KEY_TOO_LONG, 400, "KeyTooLongError", "The key is longer than 1024 bytes.")               \
    X(S3_METADATA_TOO_LARGE, 400, "MetadataTooLarge", "The metadata headers take more than 2 KB.") \
    X(S3_METHOD_NOT_ALLOWED, 405, "MethodNotAllowed",                                              \
      "This method is not allowed on this resource.")                                              \
    X(S3_NOT_IMPLEMENTED, 501, "NotImplemented",                                                   \
      "The request asks for something that is not implemented here.")                              \
    X(S3_MALFORMED_XML, 400, "MalformedXML",                                                       \
      "The XML you sent is not well-formed, or is not what this request takes.")                   \
    X(S3_MAX_MESSAGE_LENGTH_EXCEEDED, 400, "MaxMessageLengthExceeded",                             \
      "The request's XML is too long.")                                                            \
    X(S3_MALFORMED_POST_REQUEST, 400, "MalformedPOSTRequest",                                      \
      "The body of the POST is not well-formed multipart/form-data.")                              \
    X(S3_INVALID_POLICY_DOCUMENT, 400, "InvalidPolicyDocument",                                    \
      "The policy of the form is not valid.")                                                      \
    X(S3_USER_KEY_MUST_BE_SPECIFIED, 400, "UserKeyMustBeSpecified",                                \
      "The form lacks the field key.")                                                             \
    /* the body */                                                                                 \
    X(S3_MISSING_CONTENT_LENGTH, 411, "MissingContentLength",                                      \
      "You must send the length of the body.")                                                     \
    X(S3_MISSING_REQUEST_BODY, 400, "MissingRequestBodyError", "The request's body is empty.")     \
    X(S3_INCOMPLETE_BODY, 400, "IncompleteBody",                                                   \
      "The body is shorter than announced, or its framing is broken.")                             \
    X(S3_MALFORMED_TRAILER, 400, "MalformedTrailerError",                                          \
      "The trailers are malformed, or are not those announced.")                                   \
    X(S3_BAD_DIGEST, 400, "BadDigest", "The checksum or MD5 you sent is not that of the body.")    \
    X(S3_INVALID_DIGEST, 400, "InvalidDigest", "The Content-MD5 you sent is not valid.")           \
    X(S3_CONTENT_SHA256_MISMATCH, 400, "XAmzContentSHA256Mismatch",                                \
      "The x-amz-content-sha256 you sent is not that of the body.")                                \
    X(S3_ENTITY_TOO_LARGE, 400, "EntityTooLarge", "The body is larger than allowed.")              \
    X(S3_ENTITY_TOO_SMALL, 400, "EntityTooSmall", "The body is smaller than allowed.")             \
    X(S3_REQUEST_TIMEOUT, 400, "RequestTimeout", "The body did not arrive in time.")               \
    /* buckets, objects, uploads */                                                                \
    X(S3_NO_SUCH_BUCKET, 404, "NoSuchBucket", "The bucket does not exist.")                        \
    X(S3_NO_SUCH_KEY, 404, "NoSuchKey", "The key does not exist.")                                 \
    X(S3_NO_SUCH_VERSION, 404, "NoSuchVersion", "The version does not exist.")                     \
    X(S3_NO_SUCH_UPLOAD, 404, "NoSuchUpload",                                                      \
      "The upload does not exist: it may have been completed or aborted.")                         \
    X(S3_INVALID_BUCKET_NAME, 400, "InvalidBucketName", "The bucket's name is not valid.")         \
    X(S3_BUCKET_ALREADY_EXISTS, 409, "BucketAlreadyExists",                                        \
      "The bucket exists and belongs to somebody else.")                                           \
    X(S3_BUCKET_ALREADY_OWNED, 409, "BucketAlreadyOwnedByYou",                                     \
      "The bucket exists and belongs to you.")                                                     \
    X(S3_BUCKET_NOT_EMPTY, 409, "BucketNotEmpty", "The bucket you want to delete is not empty.")   \
    X(S3_INVALID_PART, 400, "InvalidPart",                                                         \
      "A part was not found, or its ETag or checksum is not the one you gave.")                    \
    X(S3_INVALID_PART_NUMBER, 416, "InvalidPartNumber", "The object has no such part.")            \
    X(S3_INVALID_PART_ORDER, 400, "InvalidPartOrder",                                              \
      "The parts are not in ascending order of their numbers.")                                    \
    X(S3_INVALID_RANGE, 416, "InvalidRange", "The range can not be satisfied.")                    \
    X(S3_NOT_MODIFIED, 304, "NotModified", "Not Modified")                                         \
    X(S3_PRECONDITION_FAILED, 412, "PreconditionFailed",                                           \
      "A precondition that you named does not hold.")                                              \
    X(S3_CONDITIONAL_REQUEST_CONFLICT, 409, "ConditionalRequestConflict",                          \
      "Another request on the same key is under way: try again.")                                  \
    X(S3_OPERATION_ABORTED, 409, "OperationAborted",                                               \
      "Another request on the same resource is under way: try again.")                             \
    /* what a bucket has none of */                                                                \
    X(S3_NO_SUCH_BUCKET_POLICY, 404, "NoSuchBucketPolicy", "The bucket has no policy.")            \
    X(S3_NO_SUCH_CORS, 404, "NoSuchCORSConfiguration", "The bucket has no CORS configuration.")    \
    X(S3_NO_SUCH_LIFECYCLE, 404, "NoSuchLifecycleConfiguration",                                   \
      "The bucket has no lifecycle configuration.")                                                \
    X(S3_NO_SUCH_ENCRYPTION, 404, "ServerSideEncryptionConfigurationNotFoundError",                \
      "The bucket has no encryption configuration.")                                               \
    X(S3_NO_SUCH_OBJECT_LOCK, 404, "ObjectLockConfigurationNotFoundError",                         \
      "The bucket has no object lock configuration.")                                              \
    X(S3_NO_SUCH_WEBSITE, 404, "NoSuchWebsiteConfiguration",                                       \
      "The bucket has no website configuration.")                                                  \
    /* us */                                                                                       \
    X(S3_SLOW_DOWN, 503, "SlowDown", "Please send fewer requests at a time.")                      \
    X(S3_SERVICE_UNAVAILABLE, 503, "ServiceUnavailable",                                           \
      "Too few volumes can be reached just now: try again.")                                       \
    X(S3_INSUFFICIENT_STORAGE, 507, "InsufficientStorage", "There is no space left.")              \
    X(S3_INTERNAL_ERROR, 500, "InternalError", "The server failed: try again.")

enum s3_error {
#define X(name, http, code, message) name,
    S3_ERROR_MAP(X)
#undef X
};

/* None of them is ever NULL. */
const char *s3_error_code(enum s3_error err);
const char *s3_error_message(enum s3_error err);
int s3_error_http(enum s3_error err);

#endif
