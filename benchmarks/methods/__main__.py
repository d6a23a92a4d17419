"""Run the comparison; see compare.py."""

from benchmarks.methods.compare import main

if __name__ == "__main__":
    raise SystemExit(main())
