# The recipes that people and CI run. `python3 dev.py RECIPE` sets the checkout up first.

set positional-arguments

python := justfile_directory() / ".venv/bin/python"
bin := justfile_directory() / ".venv/bin"
npm := justfile_directory() / ".venv-node/shims/npm"
shims := justfile_directory() / ".venv-node/shims"
lock := "--universal --python-version 3.11 --generate-hashes --quiet --custom-compile-command"

_default:
    @"{{ bin }}/just" --list --unsorted

# Install everything, development tools included
[group('set-up')]
setup:
    python3 dev.py setup

# Start the stack: servers, migrations, roles
[group('run')]
@up *arguments:
    "{{ python }}" -m tenure up "$@"

# Bring the schema to head
[group('run')]
@migrate:
    "{{ python }}" -m alembic upgrade head

# Everything that must be green: style, types, layers, tests, the console's checks
[group('check')]
test *arguments: check console-check
    "{{ python }}" -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow" "$@"

# The long forms that `test` leaves out
[group('check')]
slow *arguments:
    "{{ python }}" -m pytest -m slow "$@"

# Style, types and layers; changes nothing
[group('check')]
check:
    "{{ bin }}/ruff" check .
    "{{ bin }}/ruff" format --check .
    MYPYPATH=docs "{{ bin }}/mypy" platform tasks web tests bench celeryconfig.py flowerconfig.py docs/generate.py
    "{{ bin }}/lint-imports"

# Put style right where that is safe
[group('check')]
fix:
    "{{ bin }}/ruff" check --fix .
    "{{ bin }}/ruff" format .

# Only the tests that kill real processes
[group('check')]
kill *arguments:
    "{{ python }}" -m pytest -m kill "$@"

# Four builds that are broken on purpose: each must be caught, and the sound one must stand
[group('check')]
@mutants *arguments:
    "{{ python }}" -m pytest tests/mutants "$@"

# Fifteen minutes of steady work on a throw-away stack, then the list of what must hold
[group('check')]
@soak *arguments:
    "{{ python }}" -m tenure soak "$@"

# Faults against throw-away stacks, in their long forms (about an hour); one run: just chaos broker --seed 3
[group('measure')]
@chaos *arguments="all":
    "{{ python }}" -m tenure chaos "$@"

# Storms in their long form: kills, restarts, rubbish at every door (short ones run with the tests). Takes hours
[group('check')]
@storm *arguments:
    STORM_KILLS=100 STORM_CLIENTS=1000 STORM_BACK_S=20 STORM_BODIES=10000 STORM_FRAMES=10000 \
    STORM_WEBHOOKS=2000 STORM_EXAMPLES=50 STORM_ALL_ROLES=1 STORM_JOINING=200 STORM_VALKEY_CLIENTS=200 \
    "{{ python }}" -m pytest -s tests/storm --timeout 14400 "$@"

# The console's types, style, tests and size
[group('check')]
[working-directory('web/console')]
console-check:
    PATH="{{ shims }}:$PATH" "{{ npm }}" run --silent check
    PATH="{{ shims }}:$PATH" "{{ npm }}" run --silent test
    PATH="{{ shims }}:$PATH" "{{ npm }}" run --silent size

# Build the console (dev.py does it when its sources changed)
[group('build')]
[working-directory('web/console')]
console:
    PATH="{{ shims }}:$PATH" "{{ npm }}" run --silent build

# A new migration from the difference between models and schema: just migration "what it does"
[group('build')]
@migration message:
    "{{ python }}" -m alembic revision --autogenerate -m "$1"

# Solve the dependencies anew and pin the whole trees by hash
[group('build')]
lock:
    "{{ bin }}/uv" pip compile requirements.in {{ lock }} "just lock" -o requirements.lock
    "{{ bin }}/uv" pip compile requirements.in requirements-dev.in {{ lock }} "just lock" -o requirements-dev.lock

# Measure: see bench/README.md
[group('measure')]
bench *arguments:
    "{{ python }}" -m bench "$@"

# Every command's help, as the reference is made from it
[group('measure')]
docs:
    "{{ python }}" -m tenure --help
