#!/usr/bin/env bash
# Starts the Nextflow that scripts/setup.sh put in .tools/nextflow/lib.
here=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
export NXF_OFFLINE=${NXF_OFFLINE:-true}
opens=()
for package in java.base/java.{io,lang,nio,net,util} java.base/java.util.{concurrent.locks,concurrent.atomic,regex} \
    java.base/sun.nio.{ch,fs} java.base/sun.net.www.protocol.{file,ftp,http,https,jar} java.base/jdk.internal.{misc,vm}; do
    opens+=("--add-opens=$package=ALL-UNNAMED")
done
# shellcheck disable=SC2086 # NXF_OPTS holds several words
exec "${JAVA_CMD:-java}" -XX:+TieredCompilation -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xms256m "${opens[@]}" --enable-native-access=ALL-UNNAMED \
    ${NXF_OPTS:-} -cp "$here/nextflow/lib/*" nextflow.cli.Launcher "$@"
