#!/usr/bin/env bash
# Puts a real adbd, the daemon of an Android device, into a folder for the tests of runtimes/devices.
#
#     tools/fetch_adbd.sh build/adbd
#
# Debian has it since release 13 only. Works without root on any Debian: apt is pointed at a private state folder with
# this machine's mirror and keys, adbd and all it needs (also that release's C library) are downloaded and unpacked
# there, and DESTINATION/adbd starts it. Never start it outside a network namespace of its own: it asks nobody for a
# password and listens on every interface.
set -euo pipefail
release=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
destination=${1:?usage: $0 DESTINATION}

[ ! -x "$destination/adbd" ] || { echo "adbd: already in $destination"; exit 0; }
for tool in apt-get dpkg-deb; do
    command -v $tool > /dev/null || { echo "adbd: '$tool' is not installed (this is no Debian)" >&2; exit 1; }
done
mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' \
    | sed -n 's,^\(.*/debian\)/* main$,\1,p' | head -n 1)
[ -n "$mirror" ] || { echo "adbd: no Debian mirror is set up for apt on this machine" >&2; exit 1; }

mkdir -p "$(dirname "$destination")"
scratch=$(mktemp -d "$(dirname "$destination")/.adbd.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch"/{lists/partial,cache/archives/partial,ready/root,debs}
touch "$scratch/status"
echo "deb [signed-by=$keyring] $mirror $release main" > "$scratch/sources.list"
apt=(apt-get -qq
    -o Dir::Etc::sourcelist="$(realpath "$scratch")/sources.list" -o Dir::Etc::sourceparts=-
    -o Dir::State="$(realpath "$scratch")" -o Dir::State::lists="$(realpath "$scratch")/lists"
    -o Dir::State::status="$(realpath "$scratch")/status" -o Dir::Cache="$(realpath "$scratch")/cache"
    -o APT::Sandbox::User= -o Acquire::Languages=none)
"${apt[@]}" update
packages=$("${apt[@]}" install --simulate --no-install-recommends adbd | sed -n 's/^Inst \([^ ]*\) .*/\1/p')
(cd "$scratch/debs" && "${apt[@]}" download $packages)
for package in "$scratch"/debs/*.deb; do dpkg-deb -x "$package" "$scratch/ready/root"; done

# Its own loader and libraries, because this machine's C library may be older.
cat > "$scratch/ready/adbd" << 'SCRIPT'
#!/bin/sh
root=$(dirname "$(realpath "$0")")/root
loader=$(ls "$root"/usr/lib*/ld-linux-*.so.* "$root"/usr/lib/*/ld-linux-*.so.* 2> /dev/null | head -n 1)
libraries=$(dirname "$(ls "$root"/usr/lib/*/libc.so.6)")
exec "$(realpath "$loader")" --library-path "$libraries:$libraries/android" \
    "$root/usr/lib/android-sdk/platform-tools/adbd" "$@"
SCRIPT
chmod +x "$scratch/ready/adbd"
rm -rf "$destination"
mv "$scratch/ready" "$destination"
echo "adbd: fetched into $destination"
