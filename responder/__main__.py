"""Run the edge."""

from responder.cli import main

main()
