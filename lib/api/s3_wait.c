#include "api/s3_wait.h"

#include <event2/event.h>

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    struct s3_wait *w = arg;

    (void)fd;
    (void)what;
    if (!w->r || w->r->transport->alive(w->r)) w->again(w->arg);
}

bool s3_wait(struct s3_wait *w, const struct mkv_api *api, struct mkv_request *r,
             void (*again)(void *arg), void *arg)
{
    const struct timeval soon = {0, S3_WAIT_EACH_MS * 1000};
    uint64_t now = mkv_loop_now(api->loop);

    if (!w->assigned) {
        event_assign(&w->event, mkv_loop_base(api->loop), -1, 0, on_time, w);
        w->assigned = true;
        w->until = now + S3_WAIT_MAX_MS;
    }
    if (now >= w->until) return false;
    w->r = r;
    w->again = again;
    w->arg = arg;
    return event_add(&w->event, &soon) == 0;
}

void s3_wait_cancel(struct s3_wait *w)
{
    if (w->assigned) event_del(&w->event);
}
