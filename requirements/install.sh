#!/bin/sh
# Installs what this version was tested with: `install.sh FOLDER base` or `install.sh FOLDER dev`; `install.sh FOLDER torch`
# installs torch alone, for an environment of something else.
#
# torch comes first and alone, as its build depends on the machine: by version with a GPU, and else the build for CPUs,
# which is 190 MB in place of 3 GB. All else is in the lock, with hashes.
set -eu

folder=$1
lock=$2
here=$(dirname "$0")
torch=${TORCH:-}
tested=torch==2.13.0
cpu_builds=https://download.pytorch.org/whl/cpu

[ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv "$folder"
pip() {
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

locked() {
    # Constraints of a machine have no hashes, and pip would refuse them; here each version is exact.
    PIP_CONSTRAINT=/dev/null pip --no-deps --require-hashes "$@"
}

hashes_hold() {
    # The hash of the build for CPUs is known for one Python alone.
    [ "$(uname -m)-$("$folder/bin/python" -c 'import sys; print(sys.version_info[:2])')" = "x86_64-(3, 11)" ]
}

by_version() {
    echo "The build of torch for CPUs was not to be had from $cpu_builds; $tested comes from where pip finds it."
    pip $tested
}

install_torch() {
    if [ -n "$torch" ]; then
        pip "$torch"
    elif nvidia-smi -L >/dev/null 2>&1; then
        pip $tested
    elif [ "$(uname -s)" != Linux ]; then
        locked --requirement "$here/torch.txt"
    elif hashes_hold; then
        if ! said=$(locked --retries 0 --timeout 20 --index-url $cpu_builds --requirement "$here/torch.txt" 2>&1); then
            case $said in *HASHES*) echo "$said" >&2; exit 1 ;; esac
            by_version
        fi
    else
        pip --retries 0 --timeout 20 --no-deps --index-url $cpu_builds $tested 2>/dev/null || by_version
    fi
}

install_torch
[ "$lock" != torch ] || exit 0
locked --requirement "$here/$lock.txt"
pip --no-deps --no-build-isolation --editable "$here/.."
