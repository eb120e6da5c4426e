"""The one error that a user sees without a traceback."""


class UserError(Exception):
    """A mistake that a user can make: one sentence that names the thing, its value, what was expected, what to do."""
