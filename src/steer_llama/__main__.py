"""``python -m steer_llama``."""

from steer_llama.cli.main import main

if __name__ == "__main__":
    main()
