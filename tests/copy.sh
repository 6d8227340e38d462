#!/bin/sh
# `tests/copy.sh FOLDER`: the tracked and new files of this tree in FOLDER, only those touched that differ; files that
# are gone here go there too, what a build made stays.
set -eu

copy=$1
root=$(cd "$(dirname "$0")/.." && pwd)

cd "$root"
mkdir -p "$copy"
listed=$copy/.files
git ls-files --cached --others --exclude-standard | sort > "$listed.new"
[ -f "$listed" ] && comm -23 "$listed" "$listed.new" | while IFS= read -r name; do rm -f "$copy/$name"; done
mv "$listed.new" "$listed"
while IFS= read -r name; do
    if [ -f "$name" ] && ! cmp -s "$name" "$copy/$name"; then
        mkdir -p "$copy/$(dirname "$name")"
        cp -p "$name" "$copy/$name"
    fi
done < "$listed"
