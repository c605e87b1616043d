/* mkv: the original's command lines, "mkv FLAGS server". */
#include "mkv/config.h"
#include "mkv/jobs.h"
#include "mkv/log.h"
#include "mkv/server.h"

static const struct {
    enum mkv_program program;
    int (*run)(const struct mkv_config *cfg);
} commands[] = {{MKV_PROGRAM_SERVER, mkv_server_run},
                {MKV_PROGRAM_REBUILD, mkv_rebuild_run},
                {MKV_PROGRAM_REBALANCE, mkv_rebalance_run},
                {MKV_PROGRAM_VERIFY, mkv_verify_run},
                {MKV_PROGRAM_INDEX, mkv_index_run}};

static int run(const struct mkv_config *cfg)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (commands[i].program == cfg->program) return commands[i].run(cfg);
    return 2;
}

int main(int argc, char **argv)
{
    enum mkv_program program;
    enum mkv_config_result parsed = mkv_config_command(&program, &argc, argv);
    struct mkv_config cfg;
    int status = 2;

    if (parsed != MKV_CONFIG_RUN) return parsed == MKV_CONFIG_DONE ? 0 : 2;
    parsed = mkv_config_parse(&cfg, program, argc, argv);
    if (parsed == MKV_CONFIG_DONE) status = 0;
    if (parsed == MKV_CONFIG_RUN) {
        mkv_log_set_level(mkv_log_level_wanted(cfg.verbose));
        status = run(&cfg);
    }
    mkv_config_clear(&cfg);
    return status;
}
