class SignerClient:
    """The connection loop's line to the signer, in C throughout."""

    def __init__(self, epoll: int, tag: int, room: int) -> None: ...
