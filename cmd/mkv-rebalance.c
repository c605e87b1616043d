/* mkv-rebalance: brings every value to where it belongs. */
#include "mkv/config.h"
#include "mkv/jobs.h"
#include "mkv/log.h"

int main(int argc, char **argv)
{
    struct mkv_config cfg;
    enum mkv_config_result parsed = mkv_config_parse(&cfg, MKV_PROGRAM_REBALANCE, argc, argv);
    int status = 2;

    if (parsed == MKV_CONFIG_DONE) status = 0;
    if (parsed == MKV_CONFIG_RUN) {
        mkv_log_set_level(mkv_log_level_wanted(cfg.verbose));
        status = mkv_rebalance_run(&cfg);
    }
    mkv_config_clear(&cfg);
    return status;
}
