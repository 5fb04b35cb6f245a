"""The errors that this project raises on purpose.

Every message is one paragraph that a user can act on: what went wrong, in which file, line or
field, with which value, and what would be right. The command line prints the message and ends with
exit code 1; any other exception is a defect and keeps its traceback.
"""


class ReasonmillError(Exception):
    """Root of all errors that are explained to the user instead of shown as a traceback."""


class ConfigError(ReasonmillError):
    """`reasonmill.toml` cannot be read, has an unknown key or holds a value out of bounds."""


class SourceError(ReasonmillError):
    """A problem source is missing, unreadable, malformed or contradicts itself."""


class LakeError(ReasonmillError):
    """A table could not be written to or read from the lake."""


class PartitionBusyError(LakeError):
    """Another process holds the lease of the partition that was to be written."""


class ModelFolderError(ReasonmillError):
    """A model folder is not there, or lacks its configuration, weights or tokenizer."""


class EngineError(ReasonmillError):
    """An inference engine failed to start, died, or cannot answer a request."""


class ErrorRateError(ReasonmillError):
    """More requests or rows of a stage failed than the configured share allows."""


class WorkspaceError(ReasonmillError):
    """A file of the user's workspace (grader, filter, recipe, source, prompt) cannot be used."""


class ApplyError(ReasonmillError):
    """A user's file that cannot be read, a parameter that is not one, or an output that cannot be written."""


class FormatError(ReasonmillError):
    """A published set that cannot be given in the wanted format, mixture or splits."""


class DatasetWarning(UserWarning):
    """Something in a folder of datasets that is passed over; the command line prints the sentence alone."""
