/* Moving one key, with the patience that a busy key or a master that restarts
 * needs. */
#include "index/token.h"
#include "jobs/job_internal.h"
#include "mkv/uri.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#define REASON_MAX 512
#define TARGET_MAX (3 * MKV_KEY_MAX + sizeof("?unlinked&deep"))

enum moving_step {
    MOVING_ASK,  /* the master, or the store, is at it     */
    MOVING_WAIT, /* it could not just now: again in a while */
    MOVING_END   /* at the end of this turn done() is told  */
};

struct job_moving {
    struct job *job;         /* borrowed */
    enum moving_step step;
    char key[MKV_KEY_MAX];
    size_t key_len;
    unsigned flags;
    struct mkv_exchange *x;  /* online: owned until it calls back */
    struct mkv_move *move;   /* offline: owned until it calls back */
    struct event retry;
    unsigned delay_ms;
    uint64_t trying_since_ms; /* 0: the last answer was none that asks for patience */
    bool was_away;           /* ... but the master did not answer at all */
    enum mkv_err result;
    char why[REASON_MAX];    /* the first line of the answer's body, or our own words */
    size_t why_len;
    bool why_ended;          /* the first line is complete */
    job_moved *done;
    void *arg;
    struct mkv_chore chore;
    struct mkv_retired retired;
    struct job_moving *next, **prev;
};

static void ask(struct job_moving *m);

static struct mkv_slice key_of(const struct job_moving *m)
{
    return mkv_slice(m->key, m->key_len);
}

/* ---- the end --------------------------------------------------------------------- */

static void leave(struct job_moving *m)
{
    event_del(&m->retry);
    mkv_loop_forget(m->job->loop, &m->chore);
    *m->prev = m->next;
    if (m->next) m->next->prev = m->prev;
    mkv_loop_retire(m->job->loop, &m->retired, free, m);
}

static void on_end(void *arg)
{
    struct job_moving *m = arg;

    leave(m);
    m->done(m->result, m->result ? m->why : "", m->arg);
}

static void finish(struct job_moving *m, enum mkv_err err)
{
    m->step = MOVING_END;
    m->result = err;
    event_del(&m->retry);
    mkv_loop_at_end(m->job->loop, &m->chore);
}

static void say(struct job_moving *m, const char *why)
{
    snprintf(m->why, sizeof(m->why), "%s", why);
}

/* ---- another try ------------------------------------------------------------------ */

static void lose_master(struct job_moving *m)
{
    struct job *job = m->job;

    if (!job->stopping) {
        job_error(job, mkv_slice(NULL, 0), "the master at %s does not answer (%s): stopping",
                  job->address, m->why);
        job_stop(job);
    }
    finish(m, MKV_ESHUTDOWN);
}

/* It could not be done just now, for a reason that passes. */
static void try_again(struct job_moving *m, bool is_away)
{
    uint64_t now = mkv_loop_now(m->job->loop);
    struct timeval wait;

    if (!m->trying_since_ms || m->was_away != is_away) {
        m->trying_since_ms = now;
        m->delay_ms = JOB_RETRY_MIN_MS;
    }
    m->was_away = is_away;
    if (m->job->stopping) {
        finish(m, MKV_ESHUTDOWN);
    } else if (now - m->trying_since_ms >= (is_away ? JOB_MASTER_MS : JOB_BUSY_MS)) {
        if (is_away)
            lose_master(m);
        else
            finish(m, MKV_EBUSY);
    } else {
        m->step = MOVING_WAIT;
        wait.tv_sec = m->delay_ms / 1000;
        wait.tv_usec = m->delay_ms % 1000 * 1000;
        event_add(&m->retry, &wait);
        m->delay_ms = m->delay_ms * 2 < JOB_RETRY_MAX_MS ? m->delay_ms * 2 : JOB_RETRY_MAX_MS;
    }
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    ask(arg);
}

/* ---- online ------------------------------------------------------------------------ */

/* Keeps the first line. */
static void on_body(struct mkv_exchange *x, struct mkv_bytes piece, void *arg)
{
    struct job_moving *m = arg;

    (void)x;
    for (size_t i = 0; i < piece.len && !m->why_ended; i++) {
        m->why_ended = piece.data[i] == '\n' || m->why_len == sizeof(m->why) - 1;
        if (!m->why_ended) m->why[m->why_len++] = (char)piece.data[i];
    }
    m->why[m->why_len] = '\0';
}

static void on_answer(struct mkv_exchange *x, enum mkv_err err, int status, void *arg)
{
    struct job_moving *m = arg;
    char line[REASON_MAX];

    m->x = NULL;
    if (err) {
        say(m, mkv_exchange_why(x));
        try_again(m, true);
        return;
    }
    switch (status) {
    case 204: finish(m, MKV_OK); break;
    case 404: finish(m, MKV_ENOKEY); break;
    case 409:
    case 503: try_again(m, false); break;
    case 400: finish(m, MKV_ECANNOTMOVE); break;
    default:
        snprintf(line, sizeof(line), "the master answered %d: %.400s", status, m->why);
        say(m, line);
        finish(m, MKV_EVOLUME);
    }
}

static void ask_master(struct job_moving *m)
{
    static const struct mkv_exchange_events events = {.body = on_body, .done = on_answer};
    struct mkv_exchange_options opt = {.volume = m->job->master, .method = MKV_VOLUME_REBALANCE};
    char authorization[MKV_TOKEN_HEADER_MAX];
    struct mkv_token token;
    char target[TARGET_MAX];
    size_t n = mkv_percent_encode_path(key_of(m), target);
    enum mkv_err err;

    if (m->flags & MKV_MOVE_UNLINKED) n += (size_t)snprintf(target + n, 10, "?unlinked");
    if (m->flags & MKV_MOVE_DEEP)
        n += (size_t)snprintf(target + n, 6, "%cdeep", m->flags & MKV_MOVE_UNLINKED ? '&' : '?');
    opt.path = mkv_slice(target, n);
    mkv_token_read(&token, m->job->cfg->db); /* a master that restarts makes a new one */
    if (token.text[0]) {
        mkv_token_header(&token, authorization);
        opt.authorization = authorization;
    }
    err = mkv_exchange_start(&m->x, &opt, &events, m);
    if (!err) return;
    say(m, mkv_strerror(err));
    finish(m, err);
}

/* ---- offline ----------------------------------------------------------------------- */

static void on_moved(enum mkv_err err, const char *why, void *arg)
{
    struct job_moving *m = arg;

    m->move = NULL;
    say(m, why);
    finish(m, err);
}

static void ask_store(struct job_moving *m)
{
    enum mkv_err err =
        mkv_store_move(m->job->store, key_of(m), m->flags, &m->move, on_moved, m);

    if (!err) return;
    m->move = NULL;
    say(m, mkv_strerror(err));
    if (err == MKV_EBUSY)
        try_again(m, false);
    else
        finish(m, err);
}

static void ask(struct job_moving *m)
{
    m->step = MOVING_ASK;
    m->why[0] = '\0';
    m->why_len = 0;
    m->why_ended = false;
    if (m->job->store)
        ask_store(m);
    else
        ask_master(m);
}

/* ---- from outside -------------------------------------------------------------------- */

enum mkv_err job_move(struct job *job, struct mkv_slice key, unsigned flags, job_moved *done,
                      void *arg)
{
    struct job_moving *m;

    if (!job->store && !job->master) return MKV_EINVAL;
    if (job->stopping) return MKV_ESHUTDOWN;
    m = calloc(1, sizeof(*m));
    if (!m) return MKV_ENOMEM;
    m->job = job;
    memcpy(m->key, key.data, key.len);
    m->key_len = key.len;
    m->flags = flags;
    m->done = done;
    m->arg = arg;
    m->chore.run = on_end;
    m->chore.arg = m;
    event_assign(&m->retry, mkv_loop_base(job->loop), -1, 0, on_retry, m);
    m->next = job->moving;
    m->prev = &job->moving;
    if (m->next) m->next->prev = &m->next;
    job->moving = m;
    ask(m);
    return MKV_OK;
}

void job_moves_stop(struct job *job)
{
    for (struct job_moving *m = job->moving; m; m = m->next)
        if (m->step == MOVING_WAIT) finish(m, MKV_ESHUTDOWN);
}

void job_moves_drop(struct job *job)
{
    struct job_moving *m;

    while ((m = job->moving)) {
        if (m->x) mkv_exchange_cancel(m->x);
        if (m->move) mkv_move_forget(m->move);
        leave(m);
    }
}
