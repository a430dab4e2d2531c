"""Work in a child process that can be killed."""

import os
import signal
import time
import traceback
from collections.abc import Callable


def forked(work: Callable[[], object], kill_after: float | None = None) -> int:
    """Do ``work`` in a child of its own; how it ended (0 is well)."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - a child must not go on with the parent's tests
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]
