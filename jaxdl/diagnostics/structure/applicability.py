"""What a diagnostic says that has nothing to measure in a model."""


class NotApplicable(ValueError):
    """The model has not what the diagnostic looks at, such as a recurrence; a report says so in one line."""
