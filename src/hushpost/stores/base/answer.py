"""What a store owes to whoever asked it to write something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Answer(asyncio.Future[T]):
    """A future that may tell one callback at once.

    Those of `add_done_callback` are called in the next round of the event loop, which beside files is a
    millisecond later.
    """

    _callback: Callable[[asyncio.Future[T]], object] | None = None

    def tell(self, callback: Callable[[asyncio.Future[T]], object]) -> None:
        """Call this as soon as it is done; in the next round if it is done already. One callback only."""
        if self.done():
            self.get_loop().call_soon(callback, self)
        else:
            self._callback = callback

    def set_result(self, result: T, /) -> None:
        super().set_result(result)
        self._tell()

    def set_exception(self, exception: type | BaseException, /) -> None:
        super().set_exception(exception)
        self._tell()

    def cancel(self, msg: object = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled:
            self._tell()
        return cancelled

    def _tell(self) -> None:
        callback, self._callback = self._callback, None
        if callback is None:
            return
        try:
            callback(self)
        except Exception as error:  # of the callback's making: whoever settles many goes on
            self.get_loop().call_exception_handler(
                {"message": "a callback has failed", "exception": error, "future": self}
            )
