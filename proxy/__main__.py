"""`python -m proxy` is `pointsman`."""

from proxy.cli import main

main(prog_name="pointsman")
