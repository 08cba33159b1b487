#!/bin/sh
# Compiles the codec shim: build.sh OUTPUT.so. Says which Debian packages are missing, in MSBuild's error format.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
output=$1
compiler=${CC:-cc}

if ! command -v "$compiler" >/dev/null 2>&1; then
    echo "codecs : error DM0101: there is no C compiler ('$compiler'). Install it: apt-get install gcc libc6-dev"
    exit 1
fi

missing=
need() { # header, Debian package
    printf '#include <stddef.h>\n#include <stdio.h>\n#include <%s>\n' "$1" | "$compiler" ${CPPFLAGS:-} -E - >/dev/null 2>&1 || missing="$missing $2"
}
need jpeglib.h libjpeg62-turbo-dev
need spng.h libspng-dev
need webp/decode.h libwebp-dev
if [ -n "$missing" ]; then
    echo "codecs : error DM0102: the image codecs need headers that are not installed. Install them: apt-get install$missing"
    exit 1
fi

mkdir -p "$(dirname "$output")"
# Renamed into place: two builds at once never see half a library.
"$compiler" -std=c11 -O2 -g0 -Wall -Wextra -Werror -fPIC -fvisibility=hidden -shared -Wl,-z,defs -Wl,-soname,libdarkmatter_codecs.so \
    ${CPPFLAGS:-} ${CFLAGS:-} -o "$output.$$" "$here"/*.c ${LDFLAGS:-} -ljpeg -lspng -lwebp
mv -f "$output.$$" "$output"
