"""The state of an optimizer: dicts that note when they were changed, so that tables are rebuilt."""

from __future__ import annotations

from typing import Any


class Flag:
    """A mark that many dicts can set: their contents are no longer what a table was built from."""

    __slots__ = ("raised",)

    def __init__(self) -> None:
        self.raised = True


def _noting(name: str) -> Any:
    """Make a dict method that raises the flag."""
    original = getattr(dict, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.flag.raised = True
        return original(self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = original.__doc__
    return method


class NotingDict(dict):
    """A dict that raises a flag at every change; copies and pickles are plain dicts."""

    __slots__ = ("flag",)

    def __init__(self, flag: Flag, *args: Any) -> None:
        self.flag = flag
        super().__init__(*args)

    __setitem__ = _noting("__setitem__")
    __delitem__ = _noting("__delitem__")
    __ior__ = _noting("__ior__")
    clear = _noting("clear")
    pop = _noting("pop")
    popitem = _noting("popitem")
    setdefault = _noting("setdefault")
    update = _noting("update")

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (), None, None, iter(self.items())


class State(NotingDict):
    """State per parameter; asking for a new parameter's state gives an empty dict, as in torch."""

    __slots__ = ()

    def __missing__(self, key: Any) -> NotingDict:
        self[key] = {}
        return self[key]

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Insert a state if there is none; return what there is then."""
        if key not in self:
            self[key] = {} if default is None else default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Insert many states."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def __ior__(self, other: Any) -> State:  # type: ignore[misc]
        self.update(other)
        return self

    def __setitem__(self, key: Any, value: Any) -> None:
        own = isinstance(value, NotingDict) and value.flag is self.flag
        kept = value if own or not isinstance(value, dict) else NotingDict(self.flag, value)
        NotingDict.__setitem__(self, key, kept)
