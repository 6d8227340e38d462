from responder.hotpath.http_exchange import Exchange

class Live(Exchange):
    """What happens on the line of one loop."""
