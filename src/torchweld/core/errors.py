"""The three ways of saying no.

`Refusal`: a law or rewrite declines; the reason is data that a report lists beside what was done.
`InputError`: what the caller gave cannot be used; the command line prints it as one line and exits with status 2.
`CheckFailed`: the work was done and its own check failed; nothing is returned, exit status 1.
"""

from __future__ import annotations


class Refusal(Exception):
    """A law does not apply exactly, with a reason that a user can act on.

    >>> str(Refusal("the strides differ: 1 and 2"))
    'the strides differ: 1 and 2'
    """

    @property
    def reason(self) -> str:
        return str(self)


class InputError(Exception):
    """Input that cannot be used: the message names the thing and the mend, in one line."""


class CheckFailed(Exception):
    """A result failed its own verification and was thrown away; the message carries the figures."""
