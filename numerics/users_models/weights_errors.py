"""The one error that reading a user's weights raises."""


class WeightsFileError(ValueError):
    """A file that holds no usable weights; the message says what was needed, what came, and the mend."""
