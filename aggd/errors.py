"""Everything aggd raises on purpose.

    AggdError
    +-- ConfigError      the configuration can't be used
    +-- StorageError     the state directory can't be used
    +-- RequestError     a question can't be answered as it was asked
    +-- ProtocolError    a point or a body isn't what the protocol says
    +-- AnswerError      a command that asked a daemon has no answer to show

Wrong arguments inside the program are ``ValueError``, as everywhere.
"""


class AggdError(Exception):
    """The root of the tree: catch it to catch all that aggd raises on purpose."""


class ConfigError(AggdError):
    """The configuration can't be used; the message names file, key, value and remedy."""


class StorageError(AggdError):
    """The state directory can't be used; the message says why and what to do."""


class RequestError(AggdError):
    """A question can't be answered as it was asked.

    Parameters
    ----------
    code : str
        Short name of the mistake, for programs: ``bad_interval``.
    message : str
        A sentence for people that quotes what was found.
    field : str, optional
        The parameter or the key of the body that is wrong.
    status : int
        The HTTP status that says the same.
    """

    def __init__(
        self, code: str, message: str, field: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.status = status


class ProtocolError(AggdError):
    """A point or a line is refused; `reason` is the name it is counted under."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class AnswerError(AggdError):
    """A command has no answer to show; it says what to do and exits with `code`."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
