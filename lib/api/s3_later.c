/* Handlers that are still to be written. */
#include "api/s3_handlers.h"

#define LATER(name)                                                                                \
    void name(struct s3_call *c)                                                                   \
    {                                                                                              \
        s3_not_implemented(c);                                                                     \
    }

LATER(s3_list_v1)
LATER(s3_list_v2)
LATER(s3_list_versions)
LATER(s3_delete_objects)
