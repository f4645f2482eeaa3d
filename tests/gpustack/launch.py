"""Runs a real GPUStack on loopback alone; it would listen on every address. Started by the Python that has it."""

import importlib
import sys
from typing import Any


def main() -> None:
    uvicorn: Any = importlib.import_module("uvicorn")
    config: Any = importlib.import_module("gpustack.config.config").Config
    begin = uvicorn.Config.__init__

    def on_loopback(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **{**kwargs, "host": "127.0.0.1"})

    uvicorn.Config.__init__ = on_loopback
    config.get_proxy_listen_address = lambda *_: "127.0.0.1"
    sys.argv[0] = "gpustack"
    importlib.import_module("gpustack.main").main()


if __name__ == "__main__":  # it starts processes, which read this file again
    main()
