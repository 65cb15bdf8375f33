"""Runs the Python of the guide's pages, in which .detach() is the stop, and compares what it prints with the
numbers that the pages say: python benches/peers/guide.py. Needs torch."""

import contextlib
import io
import pathlib
import re

GUIDE = pathlib.Path(__file__).parents[2] / "src/guide"


def blocks(page):
    """The Python of a page, block by block."""
    text = "\n".join(line.removeprefix("//! ").removeprefix("//!") for line in page.read_text().splitlines())
    return re.findall(r"```python\n(.*?)```", text, re.S)


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text)]


def main():
    ran = 0
    for page in sorted(GUIDE.glob("*.rs")):
        for block in blocks(page):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(block, {})
            # `print(x)  # what it prints`, but for the words that PyTorch puts around.
            expected = re.findall(r"^print\(.*\)  # (.*)$", block, re.M)
            found = [numbers(text) for text in re.findall(r"tensor\((.*?), dtype", printed.getvalue(), re.S)]
            assert found == [numbers(text) for text in expected], (page.name, found, expected)
            ran += len(expected)
            print(f"{page.name}: {len(expected)} results as the page says")
    assert ran >= 3, ran


if __name__ == "__main__":
    main()
