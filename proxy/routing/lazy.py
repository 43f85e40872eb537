"""What is worked out when first asked for, on the path of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functools import cached_property

    lazy = cached_property
else:

    class lazy:  # noqa: N801 # as `cached_property`, whose place it takes
        """
        `functools.cached_property` without the lock that it takes in Python 3.11, and no longer does in 3.12.

        Without it, what a request has worked out ten times costs half; and no request is shared by threads.
        """

        def __init__(self, function):
            self._function = function
            self.__doc__ = function.__doc__

        def __set_name__(self, owner, name):
            self._name = name

        def __get__(self, instance, owner=None):
            if instance is None:
                return self
            value = instance.__dict__[self._name] = self._function(instance)
            return value
