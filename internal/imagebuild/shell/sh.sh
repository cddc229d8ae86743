# Run as sh -c '. "$1"' SCRIPT THIS TRACE BASH WANT: carries out SCRIPT, with the line that
# failed written to TRACE as far as this shell can tell it. BASH is bash.sh. WANT is "bash" if
# that is wanted where it is.
outrigger_trace=$2
if [ -n "${BASH_VERSION-}" ]; then # macOS
	. "$3"
	exit
fi
# The shell of Debian knows no lines at all. bash then takes its place, with its echo.
if command -v bash >/dev/null 2>&1; then
	if [ "$4" = bash ]; then exec bash -c '. "$1"' "$0" "$3" "$2"; fi
	if [ -z "${LINENO-}" ]; then exec bash -O xpg_echo -c '. "$1"' "$0" "$3" "$2"; fi
fi
if [ -z "${KSH_VERSION-}" ]; then # which counts from the trap
	trap 'printf "fail\037%s\0370\037e\037\037%s:%s\037sh:0\036" "$?" "$0" "${LINENO-}" >>"$outrigger_trace"' EXIT
fi
set --
set -e
. "$0"
