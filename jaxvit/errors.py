"""Every exception that jaxvit raises on purpose."""


class UserError(ValueError):
    """A mistake the user can correct; its one line names the value, the limit and the way out."""


class UnreadableImage(UserError):
    """An image that cannot be decoded; the message names it."""


class Unreachable(UserError):
    """A file of a hub is not cached, and its server does not answer."""


class Diverged(UserError):
    """The loss is no longer a finite number."""


class Interrupted(BaseException):  # not an Exception: no handler of errors may catch it
    """A signal stops the run.

    Attributes:
      exit_code: 128 plus the signal's number, as shells report it: 130 or 143.
    """

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.exit_code = 128 + signum
