# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: the Torsion authors
"""Parts of Twisted and asyncio: parts.py twisted|asyncio chain COUNT prints nanoseconds a time."""

import sys
import time


def twisted_chain():
    from twisted.internet.defer import Deferred

    def add(value):
        return value + 1

    def run():
        source = Deferred()
        for _ in range(10):
            source.addCallback(add)
        source.callback(1)
        assert source.result == 11

    return run


def asyncio_chain():
    import asyncio

    loop = asyncio.new_event_loop()

    # What stands nearest to a chain: ten Futures, each given its value by the callback of the one
    # before; the loop turns once for each.
    def run():
        source = loop.create_future()
        end = source
        for _ in range(10):
            behind = loop.create_future()
            end.add_done_callback(lambda done, to=behind: to.set_result(done.result() + 1))
            end = behind
        source.set_result(1)
        assert loop.run_until_complete(end) == 11

    return run


def main():
    peer, part, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    run = {("twisted", "chain"): twisted_chain, ("asyncio", "chain"): asyncio_chain}[peer, part]()
    for _ in range(count // 10):
        run()
    start = time.perf_counter_ns()
    for _ in range(count):
        run()
    print((time.perf_counter_ns() - start) / count)


main()
