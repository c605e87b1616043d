/* Parts in files: whole and durable or not there at all, and never more memory
 * than was promised. */
#include "spool_helper.h"

#include "capture.h"

#include <event2/buffer.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#define MB (1024 * 1024)

/* ---- there and back ---------------------------------------------------------------- */

static void any_size(void **state)
{
    static const size_t sizes[] = {0, 1, 255 * 1024, 256 * 1024, 256 * 1024 + 1, MB, 8 * MB + 13};
    struct spool_fixture *f = *state;

    for (size_t i = 0; i < COUNT(sizes); i++) {
        unsigned number = (unsigned)i + 1;
        struct stat st;
        char name[32];

        write_file(f, number, 7, sizes[i]);
        snprintf(name, sizeof(name), "%u.7", number);
        assert_int_equal(stat(path_of(f, name), &st), 0);
        assert_int_equal(st.st_size, sizes[i]);
        assert_int_equal(st.st_mode & 0777, 0600);
        expect_file(f, number, 7, sizes[i]);
    }
    assert_int_equal(entries(path_of(f, NULL)), COUNT(sizes)); /* nothing half-written */
}

static void nothing_happens_inside_a_call(void **state)
{
    struct spool_fixture *f = *state;
    struct feed feed;

    open_feed(&feed, f, 1, 1, 300000);
    while (feed.given < feed.size) give_piece(&feed);
    mkv_spool_end(feed.file);
    usleep(50000); /* the thread is long done */
    assert_int_equal(feed.dones, 0);
    feed.ended = true;
    assert_int_equal(finish_feed(&feed), MKV_OK);
}

/* Many pieces that are copied: more places in memory than one write takes. */
static void tiny_pieces(void **state)
{
    struct spool_fixture *f = *state;
    struct feed feed;

    open_feed(&feed, f, 1, 1, 3 * MB);
    while (feed.given < feed.size) {
        size_t n = feed.size - feed.given < 333 ? feed.size - feed.given : 333;

        mkv_spool_add(feed.file, (struct mkv_bytes){
                                     f->pattern + (feed.given + feed.seed) % PATTERN, n, NULL});
        feed.given += n;
    }
    assert_int_equal(finish_feed(&feed), MKV_OK);
    expect_file(f, 1, 1, 3 * MB);
}

static size_t memory(void)
{
    struct mallinfo2 m = mallinfo2(); /* zeros under the sanitizers */

    return m.uordblks + m.hblkhd;
}

static void memory_is_bounded(void **state)
{
    struct spool_fixture *f = *state;
    size_t size = 100 * MB, before = memory(), most = 0;
    struct feed feed;
    struct take take;

    open_feed(&feed, f, 1, 1, size);
    while (feed.file) {
        give(&feed);
        if (memory() > most) most = memory();
        mkv_loop_turn(f->loop);
    }
    assert_int_equal(feed.err, MKV_OK);
    assert_true(feed.drained > 0);
    open_take(&take, f, 1, 1, 0, size);
    while (take.file) {
        if (memory() > most) most = memory();
        mkv_loop_turn(f->loop);
    }
    assert_int_equal(take.err, MKV_OK);
    assert_int_equal(take.got, size);
    /* A piece of 70,000 bytes keeps a block of its own here. */
    if (most) assert_true(most - before < SPOOL_AHEAD / PIECE * MKV_BLOCK_SIZE + 4 * MB);
}

static void several_at_once(void **state)
{
    struct spool_fixture *f = *state;
    struct feed feeds[9];
    struct take takes[9];
    size_t open;

    for (unsigned i = 0; i < COUNT(feeds); i++) open_feed(&feeds[i], f, i, i, (size_t)i * MB + i);
    do {
        open = 0;
        for (size_t i = 0; i < COUNT(feeds); i++) give(&feeds[i]);
        mkv_loop_turn(f->loop);
        for (size_t i = 0; i < COUNT(feeds); i++) open += feeds[i].file != NULL;
    } while (open);
    for (unsigned i = 0; i < COUNT(takes); i++) {
        assert_int_equal(feeds[i].err, MKV_OK);
        open_take(&takes[i], f, i, i, 0, feeds[i].size);
    }
    for (size_t i = 0; i < COUNT(takes); i++) {
        assert_int_equal(finish_take(&takes[i]), MKV_OK);
        assert_int_equal(takes[i].got, feeds[i].size);
    }
}

/* While one file waits for its disk the loop goes on, and so do other files. */
static void the_loop_does_not_wait(void **state)
{
    struct spool_fixture *f = *state;
    struct feed feed;

    write_file(f, 2, 1, 500000);
    open_feed(&feed, f, 1, 1, 3 * MB);
    hold(HOLD_WRITE);
    give(&feed);
    wait_inside(f, 1);
    assert_true(mkv_spool_full(feed.file));
    assert_true(feed.given >= SPOOL_AHEAD && feed.given < SPOOL_AHEAD + PIECE);
    expect_file(f, 2, 1, 500000);
    turn_for(f, 20);
    assert_int_equal(feed.drained, 0);
    let_go();
    assert_int_equal(finish_feed(&feed), MKV_OK);
    assert_true(feed.drained > 0);
    expect_file(f, 1, 1, 3 * MB);
}

/* ---- reading ------------------------------------------------------------------------ */

static void ranges(void **state)
{
    static const struct {
        uint64_t first, length;
        enum mkv_err err;
        size_t got; /* whole blocks before the end, where it is too short */
    } rows[] = {
        {0, 0, MKV_OK, 0},
        {0, 1, MKV_OK, 1},
        {999999, 1, MKV_OK, 1},
        {1000000, 0, MKV_OK, 0},
        {123456, 700000, MKV_OK, 700000},
        {262144, 262144, MKV_OK, 262144},
        {0, 1000000, MKV_OK, 1000000},
        {0, 1000001, MKV_EIO, 3 * 262144},
        {1000000, 1, MKV_EIO, 0},
        {UINT64_MAX, 1, MKV_EIO, 0},
    };
    struct spool_fixture *f = *state;
    static struct capture log;
    struct take take;

    write_file(f, 3, 4, 1000000);
    for (size_t i = 0; i < COUNT(rows); i++) {
        capture_begin(&log, STDERR_FILENO);
        open_take(&take, f, 3, 4, rows[i].first, rows[i].length);
        finish_take(&take);
        capture_end(&log);
        assert_int_equal(take.err, rows[i].err);
        assert_int_equal(take.got, rows[i].got);
        if (rows[i].err) /* said once, and where */
            assert_non_null(strstr(log.text, "/3.4: reading: "));
        else
            assert_string_equal(log.text, "");
    }
}

static void no_such_file(void **state)
{
    struct spool_fixture *f = *state;
    struct take take;

    open_take(&take, f, 1, 1, 0, 10);
    assert_int_equal(finish_take(&take), MKV_ENOKEY);
    write_file(f, 1, 1, 10);
    open_take(&take, f, 1, 2, 0, 0);
    assert_int_equal(finish_take(&take), MKV_ENOKEY);
}

static void pauses(void **state)
{
    struct spool_fixture *f = *state;
    struct take take;

    write_file(f, 1, 1, 5 * MB);
    open_take(&take, f, 1, 1, 0, 5 * MB);
    take.wants_pause = true;
    for (unsigned pieces = 1; pieces <= 20; pieces++) {
        turn_for(f, pieces < 3 ? 20 : 2);
        while (take.file && take.pieces < pieces) mkv_loop_turn(f->loop);
        assert_int_equal(take.pieces, pieces);
        if (!take.file) break;
        take.paused = false;
        mkv_spool_pause(take.file, false);
        assert_int_equal(take.pieces, pieces); /* not inside the call */
        mkv_spool_pause(take.file, true);      /* changed its mind */
        mkv_loop_settle(f->loop);
        assert_int_equal(take.pieces, pieces);
        mkv_spool_pause(take.file, false);
    }
    assert_int_equal(take.err, MKV_OK);
    assert_int_equal(take.got, 5 * MB);
}

/* A piece is kept by reference, after the spool is gone too. */
static void keep_body(struct mkv_bytes piece, void *arg)
{
    assert_int_equal(mkv_bytes_append(arg, piece), MKV_OK);
}

static void count_done(enum mkv_err err, void *arg)
{
    (void)arg;
    assert_int_equal(err, MKV_OK);
}

static void pieces_can_be_kept(void **state)
{
    static const struct mkv_spool_read_events keep = {keep_body, count_done};
    struct spool_fixture *f = *state;
    struct evbuffer *kept = evbuffer_new();
    const struct mkv_spool_name name = name_of(f, 1, 1);
    struct mkv_spool_file *file;

    write_file(f, 1, 1, 3 * MB);
    assert_int_equal(mkv_spool_read(&file, f->spool, &name, 0, 3 * MB, &keep, kept), MKV_OK);
    while (evbuffer_get_length(kept) < 3 * MB) mkv_loop_turn(f->loop);
    mkv_spool_close(f->spool);
    f->spool = NULL;
    for (size_t at = 0; at < 3 * MB; at += MB / 4) {
        uint8_t bytes[MB / 4];

        assert_int_equal(evbuffer_remove(kept, bytes, sizeof(bytes)), sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes); i++)
            if (bytes[i] != f->pattern[(at + i + 1001) % PATTERN]) fail_msg("at %zu", at + i);
    }
    evbuffer_free(kept);
}

/* ---- cancelling ----------------------------------------------------------------------- */

/* After any number of turns, with any amount given. */
static void writes_are_cancelled(void **state)
{
    struct spool_fixture *f = *state;
    struct feed feed;
    char name[32];

    for (unsigned i = 0; i < 60; i++) {
        open_feed(&feed, f, 1, i, i % 5 * 600000);
        for (unsigned turns = i / 5; turns > 0 && feed.file; turns--) {
            give(&feed);
            turn_for(f, i % 3);
        }
        mkv_spool_cancel(feed.file);
        turn_for(f, 1);
        if (!feed.dones) continue;
        assert_int_equal(feed.err, MKV_OK);
        snprintf(name, sizeof(name), "1.%u", i);
        assert_int_equal(unlink(path_of(f, name)), 0);
    }
    wait_for_entries(f, 0);
    mkv_spool_cancel(NULL);
}

/* While a thread is writing, and while it is syncing: the name is never seen again. */
static void cancelled_under_a_thread(void **state)
{
    struct spool_fixture *f = *state;
    struct feed feed;

    for (unsigned ended = 0; ended < 2; ended++) {
        hold(ended ? HOLD_SYNC : HOLD_WRITE);
        open_feed(&feed, f, 1, ended, ended ? 1000 : 2 * MB);
        give(&feed);
        wait_inside(f, 1);
        assert_int_equal(entries(path_of(f, NULL)), 1);
        mkv_spool_cancel(feed.file);
        let_go();
        wait_for_entries(f, 0);
        assert_int_equal(feed.dones, 0);
    }
}

static void reads_are_cancelled(void **state)
{
    struct spool_fixture *f = *state;
    struct take takes[24];

    write_file(f, 1, 1, 3 * MB);
    for (unsigned i = 0; i < COUNT(takes); i++) {
        open_take(&takes[i], f, 1, 1, 0, 3 * MB);
        if (i % 3 == 2) { /* inside body() */
            takes[i].cancel_at = 1 + i * 100000;
            while (takes[i].file) mkv_loop_turn(f->loop);
            continue;
        }
        takes[i].wants_pause = i % 3 == 1;
        for (unsigned turns = i / 3; turns > 0; turns--) turn_for(f, 1);
        if (takes[i].paused) mkv_spool_pause(takes[i].file, takes[i].paused = false);
        mkv_spool_cancel(takes[i].file);
        takes[i].file = NULL;
        if (i % 2) mkv_loop_settle(f->loop);
    }
    turn_for(f, 20);
    expect_file(f, 1, 1, 3 * MB);
}

/* ---- what goes wrong ------------------------------------------------------------------ */

static void a_failing_disk(void **state)
{
    static const struct {
        atomic_int *call;
        int error;
        size_t size;
        enum mkv_err err;
        const char *said;
    } rows[] = {
        {&write_error, EIO, 100, MKV_EIO, "/1.0: writing: Input/output error"},
        {&write_error, ENOSPC, 5 * MB, MKV_ENOSPACE, "/1.1: writing: No space left on device"},
        {&write_error, EDQUOT, 300000, MKV_ENOSPACE, "/1.2: writing: Disk quota exceeded"},
        {&sync_error, EIO, 0, MKV_EIO, "/1.3: syncing: Input/output error"},
        {&sync_error, ENOSPC, 2 * MB, MKV_ENOSPACE, "/1.4: syncing: No space left on device"},
    };
    struct spool_fixture *f = *state;
    static struct capture log;
    struct feed feed;

    for (unsigned i = 0; i < COUNT(rows); i++) {
        atomic_store(rows[i].call, rows[i].error);
        capture_begin(&log, STDERR_FILENO);
        open_feed(&feed, f, 1, i, rows[i].size);
        finish_feed(&feed);
        capture_end(&log);
        atomic_store(rows[i].call, 0);
        assert_int_equal(feed.err, rows[i].err);
        if (!strstr(log.text, rows[i].said)) fail_msg("row %u said %s", i, log.text);
        assert_ptr_equal(strchr(log.text, '\n'), log.text + log.len - 1); /* one line */
        assert_int_equal(entries(path_of(f, NULL)), 0);
    }
    write_file(f, 1, 100, MB); /* nothing lasts of it */
}

/* Real ones: a file system of a few megabytes, and a limit on the size of files. */
static void a_full_disk(void **state)
{
    struct spool_fixture *f = *state;
    static struct capture log;
    struct feed feed;

    mkv_spool_close(f->spool);
    f->spool = NULL;
    if (mount("mkvtest", f->dir, "tmpfs", 0, "size=4m")) skip();
    assert_int_equal(open_spool(f), MKV_OK);
    write_file(f, 1, 1, 2 * MB);
    capture_begin(&log, STDERR_FILENO);
    open_feed(&feed, f, 2, 1, 20 * MB);
    finish_feed(&feed);
    capture_end(&log);
    assert_int_equal(feed.err, MKV_ENOSPACE);
    assert_true(feed.given < 8 * MB); /* told as soon as it is known */
    assert_int_equal(entries(path_of(f, NULL)), 1);
    write_file(f, 2, 2, MB); /* its space is free again */
    expect_file(f, 1, 1, 2 * MB);
    mkv_spool_close(f->spool);
    f->spool = NULL;
    assert_int_equal(umount2(f->dir, MNT_DETACH), 0);
}

static void a_limit_on_files(void **state)
{
    struct spool_fixture *f = *state;
    struct rlimit before, low;
    static struct capture log;
    struct feed feed;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = before;
    low.rlim_cur = 1500000;
    capture_begin(&log, STDERR_FILENO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    open_feed(&feed, f, 1, 1, 4 * MB);
    finish_feed(&feed);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    capture_end(&log);
    assert_int_equal(feed.err, MKV_EIO);
    assert_int_equal(entries(path_of(f, NULL)), 0);
}

/* A serial given twice is an error, and the file that was there stays. */
static void no_write_takes_anothers_file(void **state)
{
    struct spool_fixture *f = *state;
    static struct capture log;
    struct feed first, second;

    open_feed(&first, f, 1, 1, 3 * MB);
    give(&first);
    while (!there(f, "1.1~")) mkv_loop_turn(f->loop);
    capture_begin(&log, STDERR_FILENO);
    open_feed(&second, f, 1, 1, MB);
    assert_int_equal(finish_feed(&second), MKV_EIO);
    capture_end(&log);
    assert_non_null(strstr(log.text, "/1.1: making it: File exists"));
    assert_int_equal(finish_feed(&first), MKV_OK);
    expect_file(f, 1, 1, 3 * MB);
}

/* ---- removing ------------------------------------------------------------------------- */

static void a_part_written_again(void **state)
{
    struct spool_fixture *f = *state;
    const struct mkv_spool_name old = name_of(f, 5, 1), none = name_of(f, 6, 1);

    write_file(f, 5, 1, 400000);
    write_file(f, 5, UINT64_MAX, 500000);
    assert_true(there(f, "5.1") && there(f, "5.18446744073709551615"));
    expect_file(f, 5, 1, 400000);
    expect_file(f, 5, UINT64_MAX, 500000);
    mkv_spool_remove_part(f->spool, &old);
    mkv_spool_remove_part(f->spool, &none);
    wait_for_entries(f, 1);
    expect_file(f, 5, UINT64_MAX, 500000);
}

static void an_upload_goes(void **state)
{
    struct spool_fixture *f = *state;
    struct take take;

    for (unsigned i = 0; i < 100; i++) write_file(f, i, 1, 10);
    write_file(f, 100, 1, 3 * MB);
    open_take(&take, f, 100, 1, 0, 3 * MB); /* goes on: it has the file */
    while (!take.pieces) mkv_loop_turn(f->loop);
    mkv_spool_remove(f->spool, f->id);
    mkv_spool_remove(f->spool, f->id); /* gone already by then */
    wait_for_entries(f, -1);
    if (take.file) finish_take(&take);
    assert_int_equal(take.err, MKV_OK);
    mkv_spool_close(f->spool); /* with what is left of the second removal */
    assert_int_equal(open_spool(f), MKV_OK);
    write_file(f, 1, 1, 10); /* makes it anew */
    expect_file(f, 1, 1, 10);
}

/* Whatever its writes are doing, they end, and the directory with them. */
static void an_upload_goes_under_its_writes(void **state)
{
    struct spool_fixture *f = *state;
    struct feed feeds[3];

    for (unsigned round = 0; round < 10; round++) {
        f->id[0] = (uint8_t)round; /* no upload has another one's: a removal may still be at work */
        for (unsigned i = 0; i < COUNT(feeds); i++) {
            open_feed(&feeds[i], f, i, round, (size_t)i * MB);
            if (round % 2) hold(HOLD_WRITE | HOLD_SYNC);
            if (round != 0) give(&feeds[i]);
        }
        if (round % 2)
            wait_inside(f, 3);
        else
            turn_for(f, round);
        if (round % 4 == 1) {
            mkv_spool_cancel(feeds[0].file);
            feeds[0].file = NULL;
        }
        mkv_spool_remove(f->spool, f->id);
        turn_for(f, 2); /* what there is has been removed: then they go on */
        let_go();
        for (unsigned i = 0; i < COUNT(feeds); i++) {
            while (feeds[i].file) mkv_loop_turn(f->loop);
            if (feeds[i].dones) assert_true(feeds[i].err == MKV_ENOKEY || feeds[i].err == MKV_OK);
        }
        wait_for_entries(f, -1);
    }
}

static bool is_known(const uint8_t id[MKV_UPLOAD_ID_LEN], void *arg)
{
    return memcmp(id, arg, MKV_UPLOAD_ID_LEN) == 0;
}

static void touch(const struct spool_fixture *f, const char *name)
{
    char path[256];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    for (char *slash = strchr(path + strlen(f->dir) + 1, '/'); slash; slash = NULL) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void sweeps(void **state)
{
    static const struct {
        const char *name;
        bool stays;
    } rows[] = {
        {"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf/1.1", true}, /* known */
        {"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf/1.2~", false},
        {"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf/2.1~", false},
        {"b0a1a2a3a4a5a6a7a8a9aaabacadaeaf/1.1", false},
        {"00000000000000000000000000000000/1.1~", false},
        {"B0A1A2A3A4A5A6A7A8A9AAABACADAEAF/1.1", true}, /* not ours */
        {"00/1.1", true},
        {"file", true},
    };
    struct spool_fixture *f = *state;
    char path[256];

    assert_int_equal(mkv_spool_sweep(f->spool, is_known, f->id), 0);
    for (size_t i = 0; i < COUNT(rows); i++) touch(f, rows[i].name);
    assert_int_equal(mkv_spool_sweep(f->spool, is_known, f->id), 4);
    for (size_t i = 0; i < COUNT(rows); i++) {
        snprintf(path, sizeof(path), "%s/%s", f->dir, rows[i].name);
        if ((access(path, F_OK) == 0) != rows[i].stays) fail_msg("%s", rows[i].name);
    }
    assert_int_equal(entries(f->dir), 4);
    assert_int_equal(mkv_spool_sweep(f->spool, is_known, f->id), 0);
}

/* ---- open, close ------------------------------------------------------------------------ */

static void closed_in_the_midst(void **state)
{
    struct spool_fixture *f = *state;
    struct feed feeds[6];
    struct take takes[6];

    write_file(f, 100, 1, 4 * MB);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < COUNT(feeds); i++) {
            open_feed(&feeds[i], f, i, round, (size_t)i * 500000);
            give(&feeds[i]);
            open_take(&takes[i], f, 100, 1, 0, 4 * MB);
            takes[i].wants_pause = i % 2;
        }
        for (unsigned i = 0; i < round; i++) turn_for(f, 1);
        mkv_spool_cancel(feeds[5].file);
        if (takes[1].paused) mkv_spool_pause(takes[1].file, takes[1].paused = false);
        mkv_spool_remove(f->spool, (const uint8_t[MKV_UPLOAD_ID_LEN]){1});
        mkv_spool_remove(f->spool, (const uint8_t[MKV_UPLOAD_ID_LEN]){2});
        mkv_spool_close(f->spool);
        mkv_loop_settle(f->loop);
        for (unsigned i = 0; i < COUNT(feeds); i++) {
            char name[32];

            snprintf(name, sizeof(name), "%u.%u", i, round);
            assert_int_equal(there(f, name), feeds[i].dones); /* whole, and told so */
            snprintf(name, sizeof(name), "%u.%u~", i, round);
            assert_false(there(f, name));
        }
        assert_int_equal(open_spool(f), MKV_OK);
    }
    expect_file(f, 100, 1, 4 * MB);
}

static void what_can_not_be_opened(void **state)
{
    struct spool_fixture *f = *state;
    struct spool_fixture other = *f;
    char dir[64];

    assert_int_equal(open_spool(&other), MKV_ELOCKED);
    assert_non_null(strstr(other.why, f->dir));
    memcpy(dir, f->dir, sizeof(dir));
    snprintf(other.dir, sizeof(other.dir), "%.30s/a/b", dir);
    assert_int_equal(open_spool(&other), MKV_EIO);
    assert_non_null(strstr(other.why, other.dir));
    touch(f, "file");
    snprintf(other.dir, sizeof(other.dir), "%.30s/file", dir);
    assert_int_equal(open_spool(&other), MKV_EIO);
    assert_non_null(strstr(other.why, other.dir));
    snprintf(other.dir, sizeof(other.dir), "%.30s/new", dir);
    assert_int_equal(open_spool(&other), MKV_OK); /* made */
    mkv_spool_close(other.spool);
    mkv_spool_close(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(any_size),
        TEST(nothing_happens_inside_a_call),
        TEST(tiny_pieces),
        TEST(memory_is_bounded),
        TEST(several_at_once),
        TEST(the_loop_does_not_wait),
        TEST(ranges),
        TEST(no_such_file),
        TEST(pauses),
        TEST(pieces_can_be_kept),
        TEST(writes_are_cancelled),
        TEST(cancelled_under_a_thread),
        TEST(reads_are_cancelled),
        TEST(a_failing_disk),
        TEST(a_full_disk),
        TEST(a_limit_on_files),
        TEST(no_write_takes_anothers_file),
        TEST(a_part_written_again),
        TEST(an_upload_goes),
        TEST(an_upload_goes_under_its_writes),
        TEST(sweeps),
        TEST(closed_in_the_midst),
        TEST(what_can_not_be_opened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
