"""Every block of code in README.md and docs/ is run, in the order of its page, as a reader would type it.

A page is typed into one bash and one Python, in an empty folder, in a network of its own without the Internet, where
all ports are free. An invisible comment right before a block tells the runner what the text tells a reader:

    <!-- file: app.py -->        the block is saved; a later step must use this name (or `app`)
    <!-- server: 8080 -->        the last line runs on; the runner waits for the port; the next such server replaces it
    <!-- output: text -->        this is in the output of the block; `...` stands for anything
    <!-- status: 1 -->           the exit status of the block, where it is not 0
    <!-- needs: podman -->       a program without which the block is skipped (in CI it fails)
    <!-- example: examples/x --> the block is in this file, and the tests of that file run it
    <!-- run-by: .ci/run -->     this script runs the line
    <!-- sh ... -->, <!-- python ... -->   steps that a reader does not see: stand-ins and checks
    <!-- stop -->                Ctrl-C for all servers
    <!-- after: other.md -->     the page goes on where the other one ended

`sh` is typed; in `console` the lines behind `$ ` are typed and the others are their output. `python` runs with the
page's names, `js` without a file in the page that `<!-- visit: URL -->` opens. `apache` and `nginx` without a file are
loaded by the real programs; every other language needs a file or an example. Hidden steps can use the command `visit`
(tests/documentation/visit.py), which clicks and uploads in Chromium. `python3 -m venv` and `pip install` are real: pip
finds this checkout and the packages of the test environment.

A Chinese page without such comments is typed with those of its English page and with its own blocks, if these differ in
more than their comments; a Chinese page that has one must have all (tests/documentation/chinese.py tells more).

To run one page and see it all: `python -m tests.documentation.reader README.md`
"""
