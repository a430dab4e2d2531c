"""The whole way, from a trait to a proven steering vector."""

from steer_llama.config import Config
from steer_llama.progress import ConsoleReporter
from steer_llama.rundir import RunDir
from steer_llama.stages import elicit, extract, filter, fit, judge, report, respond, sweep
from steer_llama.stages.access import check_access

STAGES = (
    elicit.STAGE,  # what is asked, split into extract, dev and test questions
    respond.STAGE,  # the source's and the target's answers
    judge.STAGE,  # the trait score of every answer
    filter.STAGE,  # the pairs that differ enough
    extract.STAGE,  # the target's residual stream over both answers of each pair
    fit.STAGE,  # the vector, with the evidence for it
    sweep.STAGE,  # the best layer and strength on dev questions, confirmed on test questions
    report.STAGE,  # the report, and the recommendation in the vector
)


def run(config: Config, rundir: RunDir, reporter: ConsoleReporter) -> None:
    """Run every stage that is not done yet; a changed setting runs again what follows from it.

    Raises:
        SteerLlamaError: a stage failed; what was finished before is kept, and the same call goes on from there.
    """
    for stage in STAGES:
        stage.settings(config)  # so that a wrong setting of the last stage is told now, not after hours
    with rundir.open():
        check_access(config, [stage for stage in STAGES if not rundir.is_done(stage.work(config))])
        for stage in STAGES:
            work = stage.work(config)
            if rundir.is_done(work):
                reporter.done_before(stage.name)
                continue
            rundir.begin(work)
            with reporter.stage(stage.name):
                stage.run(config, rundir, reporter)
            rundir.finish(work)
