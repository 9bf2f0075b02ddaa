#!/usr/bin/env bash
# Fetches Keycloak, an identity provider, from Maven Central into the cache folder, once, makes it ready to start, and prints
# its folder.
#   CARRICK_CACHE (default ~/.cache/carrick) · KEYCLOAK_VERSION (default 26.3.5)
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
version=${KEYCLOAK_VERSION:-26.3.5}
cache=${CARRICK_CACHE:-$HOME/.cache/carrick}
dir=$cache/keycloak-$version
mkdir -p "$cache"
exec 9> "$cache/keycloak.lock"
flock 9
if [ ! -f "$dir/complete" ]; then
  bash "$here/scripts/deps.sh" kafka
  rm -rf "$dir"
  echo "keycloak: fetching Keycloak $version from Maven Central into $dir" >&2
  mvn -q -B -f "$here/tests/harness/keycloak/pom.xml" -Dkeycloak.version="$version" \
    dependency:copy-dependencies -DexcludeTransitive=true -DoutputDirectory="$dir/zip" >&2
  unzip -q "$dir/zip/keycloak-quarkus-dist-$version.zip" -d "$dir" >&2
  rm -r "$dir/zip"
  bash "$dir/keycloak-$version/bin/kc.sh" build --db=dev-mem --features-disabled=admin,account >&2
  touch "$dir/complete"
fi
mkdir -p "$dir/keycloak-$version/data/import"
cp "$here"/tests/harness/keycloak/*-realm.json "$dir/keycloak-$version/data/import"
echo "$dir/keycloak-$version"
