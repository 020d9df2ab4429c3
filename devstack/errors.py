"""What can go wrong with the devstack, told in one message that says what to do about it."""


class DevstackError(Exception):
    """The devstack can't start or go on; the message is for the person who started it."""
