"""Ctrl-C and SIGTERM, until a server listens for them itself."""

import signal


class Interruption:
    """The handler of both: raises KeyboardInterrupt, and remembers that it did.

    For Python drops what a handler raises inside a finalizer or the callback of a weak reference, of which every import
    has one; whoever then begins something long looks at `heard`. SIGTERM is taken like Ctrl-C: without a handler,
    process 1 of a container would not hear it at all. Python's own handler of SIGINT would give way to asyncio's, which
    cancels, and a library may swallow a cancellation.
    """

    heard = False

    def __call__(self, *_: object) -> None:
        self.heard = True
        raise KeyboardInterrupt

    def listen(self) -> None:
        self.heard = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self)


interruption = Interruption()
